#pragma once
#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium {

/// Every system call by which the store changes or reads its own files, in one place, so that a test can make
/// call N fail, come up short, or be the last one before the power goes (docs/reliability.md).
///
/// It lives in base because cas, tier and fs all keep files of their own. Reads that only serve the kernel's
/// requests from already verified hot files do not pass through here.
///
/// Threads: all functions may be called concurrently.
/// Errors:  `Errc` from errno, with the name of the call and of the file.
class Io {
 public:
  virtual ~Io() = default;

  /// openat(2) with O_CLOEXEC added; `name` is relative to the directory `dir`.
  [[nodiscard]] virtual Result<UniqueFd> open(int dir, const std::string& name, int flags, mode_t mode) = 0;
  /// Reads until `out` is full or the file ends; returns the bytes read.
  [[nodiscard]] virtual Result<std::size_t> read_at(int fd, MutableByteSpan out, std::uint64_t offset) = 0;
  /// Writes all of `data`. After an error any part of it may be in the file.
  [[nodiscard]] virtual Result<void> write_at(int fd, ByteSpan data, std::uint64_t offset) = 0;
  /// The same for several pieces of memory that follow each other in the file, in one call where the system has it.
  [[nodiscard]] virtual Result<void> write_parts_at(int fd, std::span<const ByteSpan> parts, std::uint64_t offset);
  /// Asks the system to begin bringing these bytes (`size` 0: all from there on) to the disk, so that a sync later
  /// finds less to do. Only a hint: it reports no errors and hides none from that sync.
  virtual void begin_writing(int /*fd*/, std::uint64_t /*offset*/, std::uint64_t /*size*/) {}
  [[nodiscard]] virtual Result<void> sync_data(int fd) = 0;  ///< fdatasync(2)
  [[nodiscard]] virtual Result<void> sync(int fd) = 0;       ///< fsync(2); directories too
  [[nodiscard]] virtual Result<void> truncate(int fd, std::uint64_t size) = 0;
  [[nodiscard]] virtual Result<void> punch(int fd, std::uint64_t offset, std::uint64_t size) = 0;
  [[nodiscard]] virtual Result<void> reserve(int fd, std::uint64_t offset, std::uint64_t size) = 0;  ///< fallocate(2)
  [[nodiscard]] virtual Result<void> rename(int dir, const std::string& from, const std::string& to) = 0;
  /// Gives the unnamed file `fd` (O_TMPFILE) a name.
  [[nodiscard]] virtual Result<void> link(int fd, int dir, const std::string& name) = 0;
  [[nodiscard]] virtual Result<void> unlink(int dir, const std::string& name) = 0;
  [[nodiscard]] virtual Result<void> make_dir(int dir, const std::string& name, mode_t mode) = 0;  ///< existing is fine
  [[nodiscard]] virtual Result<struct stat> status(int fd) = 0;
};

/// The real thing. Stateless.
Io& system_io();

}  // namespace stellarium
