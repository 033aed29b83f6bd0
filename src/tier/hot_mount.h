#pragma once
#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::tier {

/// A private, read-only, noatime mount of one folder that has no place in any namespace: it exists as a descriptor
/// only.
///
/// Why: FUSE passthrough opens the *path* of a backing file again, with the flags of the client's open and the server's
/// rights, so a wrong reply to an O_RDWR open would make a shared hot file writable. Opened through this mount it fails
/// with EROFS. Needs:  CAP_SYS_ADMIN, open_tree(2) and mount_setattr(2) (Linux 5.12). Life:   the mount goes with the
/// descriptor; files that were opened through it keep what they need. Errors: permission (no capability), not_supported
/// (older kernel), io.
Result<UniqueFd> make_private_mount(int folder);

}  // namespace stellarium::tier
