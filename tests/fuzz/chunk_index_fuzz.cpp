// Values of the families `chunk` and `segment` that nobody vouches for.
#include <cstdlib>

#include "cas/chunk_index.h"
#include "cas/segment_table.h"

using namespace stellarium;
using namespace stellarium::cas;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view value = as_text(std::as_bytes(std::span{data, size}));
  // What is accepted is exactly what a writer would write.
  const auto location = decode_location(value);
  if (location && encode_location(*location) != value) std::abort();
  const auto record = decode_segment_record(value);
  if (record && encode_segment_record(*record) != value) std::abort();
  return 0;
}
