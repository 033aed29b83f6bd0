#pragma once
#include <memory>

#include "base/result.h"
#include "fs/byte_stream.h"

namespace stellarium::fs {

/// The bytes behind gzip (several members, too) or zstd; what is compressed with neither passes as it is. Through
/// libarchive.
///
/// Errors:  invalid_argument (malformed, cut off), those of the input, of which something may be left unread at the
/// end. Memory:  a few MiB; zstd frames with a window over 128 MiB are refused. Threads: one at a time.
class DecompressedInput final : public ByteInput {
 public:
  explicit DecompressedInput(ByteInput& compressed);
  ~DecompressedInput() override;
  Result<std::size_t> read(MutableByteSpan out) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stellarium::fs
