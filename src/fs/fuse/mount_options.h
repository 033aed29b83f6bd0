#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace stellarium::fs::fuse {

/// How a session is mounted.
struct MountOptions {
  std::string source = "stellarium";  ///< shown in /proc/self/mounts
  bool read_only = true;
  bool allow_other = true;  ///< root only, or user_allow_other in fuse.conf
  unsigned long flags = 0;  ///< MS_… of mount(2) that limit the mount or say when times are written
};

/// Takes what -o and fstab give, comma-separated, over `options`; of words that contradict each other the last counts.
/// Words for mount(8), fstab and systemd (defaults, noauto, nofail, _netdev, x-…, …) mean nothing here; `user` and
/// `users` imply noexec, nosuid and nodev, as in mount(8).
/// Errors: invalid_argument, which names the word.
Result<MountOptions> parse_mount_options(std::string_view given, MountOptions options);

/// Those of the flags that fusermount3 takes, each with a comma before it.
std::string flags_for_fusermount(unsigned long flags);

}  // namespace stellarium::fs::fuse
