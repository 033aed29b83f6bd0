// The end of a segment file that nobody vouches for: as it is, and with its checksum made right as a forger would.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "cas/hash.h"
#include "cas/segment_format.h"

using namespace stellarium;
using namespace stellarium::cas;

namespace {

void check(ByteSpan bytes, std::uint64_t file_size) {
  const auto trailer = parse_segment_trailer(bytes, file_size);
  const auto entries = parse_segment_footer(bytes, file_size);
  if (!entries) return;
  if (!trailer || entries->size() != trailer->count) std::abort();
  // What is accepted is exactly what a writer would write.
  const auto again = encode_segment_footer(*entries);
  if (!std::ranges::equal(again, bytes)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteSpan bytes = std::as_bytes(std::span{data, size});
  (void)check_segment_header(bytes, 1, StoreId{});
  if (size < kSegmentTrailerSize) return 0;

  // The file is as long as the footer says, so that the check of the sizes does not end every run.
  const auto footer_offset = load_le<std::uint64_t>(bytes.data() + size - 48);
  for (const std::uint64_t file_size : {footer_offset + size, std::uint64_t{size}}) {
    check(bytes, file_size);
    std::vector<std::byte> forged{bytes.begin(), bytes.end()};
    const Hash checksum = hash_of(ByteSpan{forged}.first(size - Hash::kSize));
    std::copy(checksum.bytes.begin(), checksum.bytes.end(), forged.end() - Hash::kSize);
    check(forged, file_size);
  }
  return 0;
}
