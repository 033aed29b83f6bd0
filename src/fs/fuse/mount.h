#pragma once
#include <filesystem>

#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/fuse/mount_options.h"

namespace stellarium::fs::fuse {

/// Mounts an unanswered FUSE session on `dir` and returns its /dev/fuse descriptor. Runs in the command process, in the
/// user's mount namespace. As root by mount(2) (suid and dev allowed, so that su works in a container), else through
/// libfuse and fusermount3.
Result<UniqueFd> mount_session(const std::filesystem::path& dir, const MountOptions& options);
/// Undoes it. Errors: invalid_argument if nothing of ours is mounted on `dir`, busy (and by whom, where /proc tells).
Result<void> unmount(const std::filesystem::path& dir, bool lazy);

}  // namespace stellarium::fs::fuse
