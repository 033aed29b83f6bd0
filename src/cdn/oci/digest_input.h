#pragma once
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "cdn/oci/digest.h"
#include "fs/byte_stream.h"

namespace stellarium::cdn::oci {

/// SHA-256 (FIPS 180-4), through OpenSSL, which uses the processor's own instructions.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) = delete;
  ~Sha256();
  void update(ByteSpan bytes);
  Digest finish();  ///< once
  static Digest of(ByteSpan bytes);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// Passes bytes on and takes their digest.   Threads: one at a time.
class DigestInput final : public fs::ByteInput {
 public:
  explicit DigestInput(fs::ByteInput& input) : input_{input} {}
  Result<std::size_t> read(MutableByteSpan out) override;
  /// Reads what is left.
  [[nodiscard]] Result<void> drain();
  std::uint64_t bytes() const { return bytes_; }
  Digest digest() { return hash_.finish(); }  ///< of what was read; once

 private:
  fs::ByteInput& input_;
  Sha256 hash_;
  std::uint64_t bytes_ = 0;
};

}  // namespace stellarium::cdn::oci
