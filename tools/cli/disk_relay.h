#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"

// How the command process moves disks between the user's files and the server's pipes (docs/formats/disk-stream.md).
namespace stellarium::cli {

/// Sends the first `size` bytes of a file or block device. Holes are not read, zeros not sent. Errors name `name`;
/// cancelled if the other side stopped reading, invalid_argument if the file became shorter.
[[nodiscard]] Result<void> send_disk(int from, std::uint64_t size, int to, const std::string& name);

/// Writes the disk that comes through the pipe. `sparse`: into an empty file, in which zeros stay holes; else
/// everything, one byte after the other.
[[nodiscard]] Result<void> receive_disk(int from, int to, bool sparse, const std::string& name);

}  // namespace stellarium::cli
