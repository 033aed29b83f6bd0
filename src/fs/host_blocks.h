#pragma once
#include <sys/types.h>

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

// What writing to a host file takes from its file system.
namespace stellarium::fs {

inline constexpr std::uint64_t kHostBlock = 4096;
inline constexpr std::uint64_t whole_blocks(std::uint64_t bytes) {
  return (bytes + kHostBlock - 1) / kHostBlock * kHostBlock;
}

/// How many of the `size` bytes at `offset` can be written if at most `room` bytes of new blocks may be: blocks that
/// the file has already, also those that fallocate(2) got, cost nothing. Where the file system cannot say which those
/// are, holes count as missing. Errors: io.
Result<std::uint64_t> fitting(int fd, std::uint64_t offset, std::uint64_t size, std::uint64_t room);
/// Makes holes of all that the file has blocks for and that was never written; the file is synced, and nobody writes
/// it. Does nothing where the file system cannot say (tmpfs, which survives no power failure).
Result<void> punch_unwritten(int fd);
/// Bytes of the file's blocks, as stat(2) counts them.
Result<std::uint64_t> host_bytes(int fd);
}  // namespace stellarium::fs
