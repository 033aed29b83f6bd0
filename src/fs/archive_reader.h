#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "fs/byte_stream.h"
#include "fs/layer_entry.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Reads the members of a tar stream, compressed or not, through libarchive. Names, targets and attributes are the
/// bytes that the archive holds, whatever the locale.
///
/// Errors:  invalid_argument (malformed, cut off, no archive at all), those of the input.
/// Memory:  a few MiB; nothing that an archive declares is allocated in advance. No outside program is run to
/// decompress. Threads: one at a time.
class ArchiveReader {
 public:
  struct Member {
    std::string path;
    std::uint32_t mode = 0;  ///< as stat shows it, the type included
    std::int64_t uid = 0, gid = 0, size = 0;
    std::uint64_t rdev = 0;
    Timespec atime, mtime, ctime, btime;   ///< atime and ctime are mtime, btime is 0, where the archive does not say
    std::string symlink;                   ///< target
    std::optional<std::string> hard_link;  ///< path of the member that this is another name of
    Xattrs xattrs;                         ///< unsorted, names unique; POSIX ACLs in binary form
    bool nfs4_acl = false;                 ///< it has an ACL that Linux cannot keep
  };
  /// A part of a member's data. What lies between parts is a hole.
  struct Block {
    std::uint64_t offset = 0;
    ByteSpan bytes;  ///< valid until the next call
  };

  explicit ArchiveReader(ByteInput& input);
  ~ArchiveReader();
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;

  /// The next member; nothing at the archive's end, whose mark must be there.
  Result<std::optional<Member>> next();
  /// The next part of the current member's data; nothing at its end.
  Result<std::optional<Block>> data();
  /// Reads what follows the archive's end, so that whoever writes the stream can finish.
  Result<void> drain();
  std::uint64_t stream_bytes() const;  ///< read from the input so far

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stellarium::fs
