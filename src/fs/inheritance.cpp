#include "fs/inheritance.h"

#include <sys/stat.h>

#include "fs/posix_acl.h"

namespace stellarium::fs {

Result<Inheritance> inherit(const Inode& parent, const std::string& default_acl, std::uint32_t mode,
                            std::uint32_t umask, std::uint32_t gid) {
  Inheritance given;
  given.mode = mode;
  given.gid = gid;
  if ((parent.mode & S_ISGID) != 0) {
    given.gid = parent.gid;
    if (S_ISDIR(mode)) given.mode |= S_ISGID;
  }
  if (S_ISLNK(mode)) {
    given.mode = S_IFLNK | 0777;
    return given;
  }
  if (acl_is_empty(default_acl)) {
    given.mode &= ~(umask & 0777u);
    return given;
  }
  Result<AclOfNew> acl = acl_of_new(default_acl, given.mode);
  if (!acl) return fail(acl.error(), "a default ACL");
  given.mode = acl->mode;
  if (!acl->access.empty()) given.xattrs.emplace_back(kAclAccess, std::move(acl->access));
  if (S_ISDIR(mode)) given.xattrs.emplace_back(kAclDefault, default_acl);
  return given;
}

}  // namespace stellarium::fs
