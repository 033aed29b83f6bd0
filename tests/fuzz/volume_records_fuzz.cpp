// Records of volumes that nobody vouches for. The first byte chooses the kind; what is accepted is what a writer
// writes.
#include <cstdlib>

#include "fs/volume_records.h"

using namespace stellarium::fs;

namespace {

void check(bool same) {
  if (!same) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  switch (data[0] % 5) {
    case 0:
      if (const auto record = decode_volume(bytes)) check(encode_volume(*record) == bytes);
      break;
    case 1:
      if (const auto record = decode_map(bytes)) check(encode_map(*record) == bytes);
      break;
    case 2:
      if (const auto record = decode_volume_counters(bytes)) check(encode_volume_counters(*record) == bytes);
      break;
    case 3:
      if (const auto key = decode_extent_key(bytes)) check(extent_key(key->map, key->block) == bytes);
      break;
    case 4:
      if (const auto extent = decode_extent(bytes)) check(encode_extent(*extent) == bytes);
      break;
  }
  return 0;
}
