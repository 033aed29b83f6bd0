// Disks from a command that nobody vouches for: what is accepted is read within its bounds, and in order.
#include <cstdlib>

#include "fs/disk_stream.h"
#include "support/byte_streams.h"

using namespace stellarium;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::SpanInput input{std::as_bytes(std::span{data, size}), 4096};
  auto reader = fs::DiskStreamReader::begin(input);
  if (!reader) return 0;
  std::uint64_t reached = 0;
  for (;;) {
    const auto run = reader->next();
    if (!run || !*run) return 0;
    if ((*run)->offset < reached || (*run)->bytes.empty()) std::abort();
    reached = (*run)->offset + (*run)->bytes.size();
    if (reached > reader->size()) std::abort();
  }
}
