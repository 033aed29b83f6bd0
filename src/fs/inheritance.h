#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "fs/types.h"

namespace stellarium::fs {

/// What a new node gets from the directory that it is made in.
struct Inheritance {
  std::uint32_t mode = 0, gid = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

/// `default_acl`: of the parent; empty for none. `mode`, `umask`, `gid`: the caller's. The rules are Linux's: the group
/// of a setgid directory is inherited, and by directories the bit too; a default ACL limits the mode in place of the
/// umask; a symlink has all permissions. That a caller outside the group cannot make setgid programs is the kernel's
/// business. Errors: corrupt (an ACL that is none).
Result<Inheritance> inherit(const Inode& parent, const std::string& default_acl, std::uint32_t mode,
                            std::uint32_t umask, std::uint32_t gid);

}  // namespace stellarium::fs
