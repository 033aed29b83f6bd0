#include "fs/fuse/privileges.h"

#include <cap-ng.h>

#include <cstdint>
#include <fstream>

namespace stellarium::fs::fuse {
bool may_pass_through() {
  capng_clear(CAPNG_SELECT_CAPS);
  if (capng_get_caps_process() != 0 || capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) == 0) return false;
  // Only the initial user namespace maps every id to itself.
  std::ifstream map{"/proc/self/uid_map"};
  std::uint64_t inside = 1, outside = 1, count = 0;
  map >> inside >> outside >> count;
  return inside == 0 && outside == 0 && count == UINT32_MAX;
}

}  // namespace stellarium::fs::fuse
