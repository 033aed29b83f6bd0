#pragma once
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "fs/byte_stream.h"

namespace stellarium::test {

/// A stream of given bytes, which are borrowed, in parts of at most `part`.
class SpanInput final : public fs::ByteInput {
 public:
  explicit SpanInput(ByteSpan bytes, std::size_t part = ~std::size_t{0}) : rest_{bytes}, part_{part} {}
  Result<std::size_t> read(MutableByteSpan out) override {
    const std::size_t count = std::min({out.size(), rest_.size(), part_});
    if (count > 0) std::memcpy(out.data(), rest_.data(), count);
    rest_ = rest_.subspan(count);
    return count;
  }

 private:
  ByteSpan rest_;
  const std::size_t part_;
};

/// The same with bytes of its own.
class TextInput final : public fs::ByteInput {
 public:
  explicit TextInput(std::string text, std::size_t part = 1u << 20)
      : text_{std::move(text)}, bytes_{as_bytes(text_), part} {}
  Result<std::size_t> read(MutableByteSpan out) override { return bytes_.read(out); }

 private:
  const std::string text_;
  SpanInput bytes_;
};

/// Keeps what is written.
class TextOutput final : public fs::ByteOutput {
 public:
  Result<void> write(ByteSpan data) override {
    put_bytes(text, data);
    return {};
  }
  std::string text;
};

}  // namespace stellarium::test
