#pragma once
#include <memory>
#include <optional>

#include "base/result.h"
#include "fs/archive_member.h"
#include "fs/byte_stream.h"

namespace stellarium::fs {

/// Reads the members of a tar stream, compressed or not, through libarchive. Names, targets and attributes are the
/// bytes that the archive holds, whatever the locale.
///
/// Errors:  invalid_argument (malformed, cut off, no archive at all), those of the input.
/// Memory:  a few MiB; nothing that an archive declares is allocated in advance. No outside program is run to
/// decompress. Threads: one at a time.
class ArchiveReader {
 public:
  enum class Expect { anything, plain_tar };
  /// `plain_tar`: nothing else can come, for it began before.
  explicit ArchiveReader(ByteInput& input, Expect expect = Expect::anything);
  ~ArchiveReader();
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;

  /// The next member; nothing at the archive's end, whose mark must be there.
  Result<std::optional<ArchiveMember>> next();
  /// The next part of the current member's data; nothing at its end.
  Result<std::optional<ArchiveBlock>> data();
  /// Reads what follows the archive's end, so that whoever writes the stream can finish.
  Result<void> drain();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stellarium::fs
