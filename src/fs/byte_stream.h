#pragma once
#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

namespace stellarium::fs {

/// Where a tar comes from: a pipe of the command process, a file in a test.
class ByteInput {
 public:
  virtual ~ByteInput() = default;
  /// Up to out.size() bytes; 0 only at the end. May block.
  [[nodiscard]] virtual Result<std::size_t> read(MutableByteSpan out) = 0;
};

class ByteOutput {
 public:
  virtual ~ByteOutput() = default;
  [[nodiscard]] virtual Result<void> write(ByteSpan data) = 0;  ///< all of it; may block
  /// The first `size` bytes of a file, or as many as it has: how many. May block.
  [[nodiscard]] virtual Result<std::uint64_t> send(int file, std::uint64_t size) { return send_from(file, 0, size); }
  /// The same from `offset` on, by reading and writing them.
  [[nodiscard]] Result<std::uint64_t> send_from(int file, std::uint64_t offset, std::uint64_t size);
};

}  // namespace stellarium::fs
