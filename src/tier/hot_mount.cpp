#include "tier/hot_mount.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace stellarium::tier {

Result<UniqueFd> make_private_mount(int folder) {
  // By number: the C library of Debian 12 has these calls in a header that contradicts <linux/mount.h>.
  UniqueFd mount{static_cast<int>(::syscall(
      SYS_open_tree, folder, "", unsigned{OPEN_TREE_CLONE} | unsigned{OPEN_TREE_CLOEXEC} | unsigned{AT_EMPTY_PATH}))};
  if (!mount) return fail_errno("cloning the mount of the hot folder");
  struct mount_attr attributes {};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  attributes.attr_clr = MOUNT_ATTR__ATIME;
  if (::syscall(SYS_mount_setattr, mount.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) {
    return fail_errno("making the private mount of the hot folder read-only");
  }
  return mount;
}

}  // namespace stellarium::tier
