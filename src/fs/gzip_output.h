#pragma once
#include <memory>

#include "base/result.h"
#include "fs/byte_stream.h"

namespace stellarium::fs {

/// Compresses what is written with gzip (RFC 1952) at zlib's default level, without a time: equal bytes become equal
/// bytes. Through libarchive.   Errors: those of the output. Cost: about 30 ms a MB. Threads: one at a time.
class GzipOutput final : public ByteOutput {
 public:
  explicit GzipOutput(ByteOutput& compressed);
  ~GzipOutput() override;
  [[nodiscard]] Result<void> write(ByteSpan data) override;
  [[nodiscard]] Result<void> finish();  ///< once

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stellarium::fs
