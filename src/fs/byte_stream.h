#pragma once
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
};

}  // namespace stellarium::fs
