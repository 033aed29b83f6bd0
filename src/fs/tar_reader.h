#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "fs/archive_member.h"
#include "fs/byte_stream.h"

namespace stellarium::fs {

/// Reads the members of a tar stream, compressed or not.
///
/// Method:  members without anything out of the ordinary (ustar headers, the pax records that nearly all archives have,
///          GNU's long names), which the command process sends and most archivers write, are read here: a tenth of a
///          second import of a tree goes into them otherwise. Every other one goes through libarchive
///          (archive_reader.h), which then reads the bytes of that member only; or, from the first header that is not
///          understood or after many such members on, all of the stream. Both give the same:
///          tests/fuzz/tar_import_fuzz.cpp compares them.
/// Errors:  invalid_argument (malformed, cut off, no archive at all), those of the input.
/// Memory:  a few MiB; nothing that an archive declares is allocated in advance.
/// Threads: one at a time.
class TarReader {
 public:
  explicit TarReader(ByteInput& input);
  ~TarReader();
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  /// The next member; nothing at the archive's end, whose mark must be there.
  Result<std::optional<ArchiveMember>> next();
  /// The next part of the current member's data; nothing at its end.
  Result<std::optional<ArchiveBlock>> data();
  /// Reads what follows the archive's end, so that whoever writes the stream can finish.
  Result<void> drain();
  std::uint64_t stream_bytes() const;  ///< read from the input so far
  std::uint64_t others() const;        ///< times that libarchive was asked

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stellarium::fs
