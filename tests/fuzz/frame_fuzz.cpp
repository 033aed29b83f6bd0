// A container that nobody vouches for: parsed, decoded, and, with its checksum made right as a forger would, once more.
#include <cstdlib>
#include <vector>

#include "cas/frame_format.h"

using namespace stellarium;
using namespace stellarium::cas;

namespace {

constexpr std::size_t kChecksum = 32;  // its offset

void check(ByteSpan bytes) {
  static Decompressor decompressor;
  const auto index = parse_frame_index(bytes);
  const auto view = parse_frame(bytes);
  if (!view) return;
  if (!index || index->header.container_size() != bytes.size()) std::abort();
  const auto frame = decode_frame(*view, decompressor);
  if (!frame) return;
  if (frame->bytes.size() != view->index.header.raw_size) std::abort();
  for (const auto& entry : frame->entries)
    if (hash_of(frame->data(entry)) != entry.id || frame->find(entry.id) == nullptr) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteSpan bytes = std::as_bytes(std::span{data, size});
  check(bytes);

  const auto header = parse_frame_header(bytes);
  if (!header || bytes.size() < kFrameHeaderSize + header->index_size()) return 0;
  std::vector<std::byte> forged{bytes.begin(), bytes.end()};
  // Ids of raw data can be made right, too; zstd data is left to the fuzzer.
  if (header->codec == Codec::raw && header->kind != FrameKind::freed && forged.size() == header->container_size()) {
    std::size_t at = kFrameHeaderSize + header->index_size();
    for (std::size_t i = 0; i < header->count; ++i) {
      std::byte* const entry = forged.data() + kFrameHeaderSize + i * kFrameEntrySize;
      const std::size_t chunk_size = load_le<std::uint16_t>(entry + 36) + std::size_t{1};
      if (chunk_size > forged.size() - at) break;
      const Hash id = hash_of(ByteSpan{forged}.subspan(at, chunk_size));
      std::copy(id.bytes.begin(), id.bytes.end(), entry);
      at += chunk_size;
    }
  }
  Hasher hasher;
  hasher.update(ByteSpan{forged}.first(kChecksum));
  hasher.update(ByteSpan{forged}.subspan(kFrameHeaderSize, header->index_size()));
  const Hash checksum = hasher.finish();
  std::copy(checksum.bytes.begin(), checksum.bytes.end(), forged.begin() + kChecksum);
  check(forged);
  return 0;
}
