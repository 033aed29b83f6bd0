#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "fs/layer_entry.h"
#include "fs/types.h"

namespace stellarium::fs {

/// What a tar says of one member. Names, targets and attributes are the bytes that the archive holds.
struct ArchiveMember {
  std::string path;
  std::uint32_t mode = 0;  ///< as stat shows it, the type included (of hard links: the archive does not say)
  std::int64_t uid = 0, gid = 0, size = 0;
  std::uint64_t rdev = 0;
  Timespec atime, mtime, ctime, btime;   ///< atime and ctime are mtime, btime is 0, where the archive does not say
  std::string symlink;                   ///< target
  std::optional<std::string> hard_link;  ///< path of the member that this is another name of
  Xattrs xattrs;                         ///< unsorted, names unique; POSIX ACLs in binary form
  bool nfs4_acl = false;                 ///< it has an ACL that Linux cannot keep
};

/// A part of a member's data. What lies between parts is a hole.
struct ArchiveBlock {
  std::uint64_t offset = 0;
  ByteSpan bytes;  ///< valid until the next call
};

}  // namespace stellarium::fs
