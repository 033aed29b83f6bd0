#pragma once
#include <filesystem>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::fs::fuse {

struct MountOptions {
  std::string source = "stellarium";  ///< shown in /proc/self/mounts
  bool read_only = true;
  bool allow_other = true;  ///< root only, or user_allow_other in fuse.conf
  std::string extra = {};   ///< further comma-separated kernel options, checked by mount(8)'s rules
};

/// Mounts an unanswered FUSE session on `dir` and returns its /dev/fuse descriptor. Runs in the command process, in the
/// user's mount namespace. As root by mount(2) (suid and dev allowed, so that su works in a container), else through
/// libfuse and fusermount3.
Result<UniqueFd> mount_session(const std::filesystem::path& dir, const MountOptions& options);
/// Undoes it. Errors: invalid_argument if nothing of ours is mounted on `dir`, busy (and by whom, where /proc tells).
Result<void> unmount(const std::filesystem::path& dir, bool lazy);

}  // namespace stellarium::fs::fuse
