#pragma once
#include <cstddef>

#include "base/raw_bytes.h"
#include "base/result.h"
#include "fs/byte_stream.h"

namespace stellarium::fs {

/// A stream of which one can look at what comes before taking it.
/// Threads: one at a time.
class BufferedInput final : public ByteInput {
 public:
  /// What was read is still in the processor's cache when it is hashed and cut.
  static constexpr std::size_t kBytes = 256u << 10;

  explicit BufferedInput(ByteInput& input) : input_{input}, buffer_{kBytes} {}

  /// Waits for `size` bytes, at most kBytes, to be in `ready`. False: the stream ends before.
  [[nodiscard]] Result<bool> wait_for(std::size_t size);
  /// What was read and not taken. Valid until the next call of another function than this and `take`.
  ByteSpan ready() const { return {buffer_.data() + begin_, end_ - begin_}; }
  /// Takes `size` bytes of `ready`.
  void take(std::size_t size) { begin_ += size; }
  /// Takes `size` bytes, however many. False: the stream ends before.
  [[nodiscard]] Result<bool> skip(std::uint64_t size);
  [[nodiscard]] Result<std::size_t> read(MutableByteSpan out) override;
  /// Of the stream, taken or not.
  std::uint64_t bytes_read() const { return bytes_read_; }
  /// Where in the stream `ready` begins.
  std::uint64_t position() const { return bytes_read_ - (end_ - begin_); }

 private:
  ByteInput& input_;
  RawBytes buffer_;
  std::size_t begin_ = 0, end_ = 0;  // of `ready`, in buffer_
  std::uint64_t bytes_read_ = 0;
};

}  // namespace stellarium::fs
