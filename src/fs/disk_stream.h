#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "fs/byte_stream.h"

// A disk's bytes without its zeros, on their way between the command and the server (docs/formats/disk-stream.md).
namespace stellarium::fs {

/// Longest run of bytes; a multiple of kVolumeBlock, where runs begin and end.
inline constexpr std::size_t kMaxDiskRun = 1u << 20;

/// Threads: one at a time. Errors: those of the output.
class DiskStreamWriter {
 public:
  /// Borrows the output. `size`: 1 … kMaxVolumeSize bytes (asserted).
  static Result<DiskStreamWriter> begin(ByteOutput& out, std::uint64_t size);
  /// Blocks that the disk has at `offset`, behind what was written before; those that are zeros are left out. At most
  /// kMaxDiskRun bytes, whole blocks or up to the disk's end (asserted).
  [[nodiscard]] Result<void> write(std::uint64_t offset, ByteSpan bytes);
  [[nodiscard]] Result<void> finish();

 private:
  DiskStreamWriter(ByteOutput& out, std::uint64_t size) : out_{&out}, size_{size} {}
  Result<void> put_head(std::uint64_t offset, std::uint64_t length);
  Result<void> put_run(std::uint64_t offset, ByteSpan bytes);

  ByteOutput* out_;
  std::uint64_t size_;
};

/// Threads: one at a time. Memory: one run.
/// Errors:  corrupt for what no writer writes, also for a stream that ends early or goes on behind its end; version;
///          those of the input.
class DiskStreamReader {
 public:
  /// Borrows the input, and reads the head.
  static Result<DiskStreamReader> begin(ByteInput& in);
  std::uint64_t size() const { return size_; }  ///< of the disk; 1 … kMaxVolumeSize

  struct Run {
    std::uint64_t offset;
    ByteSpan bytes;  ///< until the next call; whole blocks of kVolumeBlock, but at the disk's end
  };
  /// The next bytes that are not zeros, ascending; nothing at the end.
  [[nodiscard]] Result<std::optional<Run>> next();

 private:
  DiskStreamReader(ByteInput& in, std::uint64_t size) : in_{&in}, size_{size} {}

  ByteInput* in_;
  std::uint64_t size_, reached_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace stellarium::fs
