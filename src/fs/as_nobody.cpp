#include "fs/as_nobody.h"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>

namespace stellarium::fs {
namespace {

constexpr uid_t kNobody = 65534;

// By system call, because libcap-ng reads /proc for each change, and this happens for every file that is made.
void set_resource_capability(bool wanted) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return;
  __user_cap_data_struct& word = sets[CAP_TO_INDEX(CAP_SYS_RESOURCE)];
  const std::uint32_t effective = wanted ? word.effective | (word.permitted & CAP_TO_MASK(CAP_SYS_RESOURCE))
                                         : word.effective & ~CAP_TO_MASK(CAP_SYS_RESOURCE);
  if (effective == word.effective) return;
  word.effective = effective;
  (void)::syscall(SYS_capset, &header, sets.data());  // giving up, or taking back what is permitted, is always allowed
}

}  // namespace

AsNobody::AsNobody() : earlier_{::setfsuid(kNobody)} {
  set_resource_capability(false);
}

AsNobody::~AsNobody() {
  ::setfsuid(static_cast<uid_t>(earlier_));  // back to 0 returns the capabilities that go with files
  set_resource_capability(true);
}

}  // namespace stellarium::fs
