// Volume manifests that nobody vouches for: what is accepted is exactly what a writer would write.
#include <cstdlib>

#include "fs/tinyvol.h"

using namespace stellarium::fs;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  const auto volume = decode_tinyvol(bytes);
  if (volume && encode_tinyvol(*volume) != bytes) std::abort();
  return 0;
}
