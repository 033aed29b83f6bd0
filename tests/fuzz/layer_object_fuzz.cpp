// A layer object that nobody vouches for. What is read whole must be a tree; writing it again must give an object that
// reads the same.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "fs/layer_object.h"
#include "fs/records.h"
#include "support/byte_streams.h"

using namespace stellarium;
using namespace stellarium::fs;

namespace {

class Output final : public cas::ContentWriter {
 public:
  Result<void> append(ByteSpan data) override {
    bytes.insert(bytes.end(), data.begin(), data.end());
    return {};
  }
  Result<void> append_zeros(std::uint64_t) override { std::abort(); }
  Result<cas::ContentId> finish() override { return cas::hash_of(bytes); }
  std::vector<std::byte> bytes;
};

bool read_all(ByteSpan bytes, std::vector<LayerEntry>& entries) {
  test::SpanInput input{bytes};
  LayerObjectReader reader{input};
  while (true) {
    auto entry = reader.next();
    if (!entry) return false;
    if (!*entry) return true;
    if ((*entry)->first && why_invalid((*entry)->inode) != nullptr) std::abort();
    entries.push_back(std::move(**entry));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<LayerEntry> entries;
  if (!read_all(std::as_bytes(std::span{data, size}), entries)) return 0;
  const auto inodes = static_cast<std::uint64_t>(std::ranges::count(entries, true, &LayerEntry::first));
  Output output;
  LayerObjectWriter writer{output, entries.size(), inodes};
  for (const LayerEntry& entry : entries) (void)writer.add(entry);
  (void)writer.flush();
  std::vector<LayerEntry> again;
  if (!read_all(output.bytes, again) || again.size() != entries.size()) std::abort();
  for (std::size_t i = 0; i < again.size(); ++i) {
    if (again[i].inode != entries[i].inode || again[i].name != entries[i].name || again[i].ino != entries[i].ino)
      std::abort();
  }
  return 0;
}
