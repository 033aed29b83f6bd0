#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stellarium::fs {

inline constexpr std::string_view kAclAccess = "system.posix_acl_access";
inline constexpr std::string_view kAclDefault = "system.posix_acl_default";

/// POSIX.1e ACLs in the two forms that tars and kernels use: text as `getfacl --omit-header` and pax's SCHILY.acl.*
/// write it ("user::rw-,user:1000:r--,…", entries separated by commas or newlines; a numeric id may follow as a fourth
/// field and then wins), and the binary value of the system.posix_acl_* attributes (version 2, little-endian;
/// linux/posix_acl_xattr.h). Names that are not numbers are refused unless a fourth field gives the number: images must
/// not depend on this host's users. Errors: invalid_argument (text), corrupt (binary).
Result<std::string> acl_from_text(std::string_view text);
Result<std::string> acl_to_text(std::string_view binary);
/// The nine permission bits that stat(2) shows for a file with this access ACL: the group's are those of the mask, if
/// there is one.
Result<std::uint32_t> acl_permissions(std::string_view binary);

/// What an ACL does in a file system, after Linux's fs/posix_acl.c. Binary values; `mode` is as in st_mode.
bool acl_is_empty(std::string_view binary);                        ///< no entries: setting it means removing
Result<std::string> acl_checked(std::string_view binary);          ///< in order; invalid_argument if it is no valid ACL
Result<bool> acl_says_more(std::string_view binary);               ///< than the permission bits can
Result<std::string> acl_with_permissions(std::string_view binary,  ///< after a chmod
                                         std::uint32_t mode);
struct AclOfNew {
  std::uint32_t mode = 0;
  std::string access;  ///< empty if the mode says all of it
};
/// Of a node that is made with `mode` in a directory with this default ACL. The umask does not count then.
Result<AclOfNew> acl_of_new(std::string_view default_acl, std::uint32_t mode);

}  // namespace stellarium::fs
