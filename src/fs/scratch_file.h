#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/large_bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cas/hash.h"

namespace stellarium::fs {

/// A sequence of byte records that may outgrow memory: the first `memory` bytes stay there, more goes to a file that
/// never has a name, so that nothing of it outlives the process. Records may be read while others are still appended.
///
/// Errors:  out_of_space, io.
/// Threads: one at a time.
class ScratchFile {
 public:
  /// Nothing is made in `dir` until it is needed.
  ScratchFile(std::filesystem::path dir, std::size_t memory);

  /// Returns where the record begins.
  Result<std::uint64_t> append(std::string_view record);
  std::uint64_t size() const { return written_ + used_; }  ///< bytes, framing included
  /// The record that begins at `offset`.
  Result<std::string> record_at(std::uint64_t offset) const;
  /// Of all records, in their order.
  Result<cas::Hash> fingerprint() const;

  /// Walks over the records of [begin, end), or to whatever is the end when it gets there.
  class Reader {
   public:
    explicit Reader(const ScratchFile& file, std::uint64_t begin = 0, std::uint64_t end = ~std::uint64_t{0},
                    std::size_t buffer = 256u << 10);
    /// The next record, valid until the next call; nothing at the end.
    Result<std::optional<std::string_view>> next();

   private:
    Result<void> fill(std::size_t wanted);

    const ScratchFile* file_;
    std::uint64_t next_, end_;  // next_: file offset behind what buffer_ holds
    std::size_t buffer_size_, at_ = 0;
    std::string buffer_;
  };

 private:
  /// What the buffer may hold now.
  std::size_t limit() const;
  ByteSpan buffered() const { return {buffer_.data(), used_}; }
  Result<void> flush();
  Result<void> write(ByteSpan bytes);
  Result<void> read(std::uint64_t offset, char* out, std::size_t size) const;

  std::filesystem::path dir_;
  std::size_t memory_;
  UniqueFd fd_;
  std::uint64_t written_ = 0;  // bytes that are in the file; buffer_ holds those behind them
  LargeBytes buffer_;
  std::size_t used_ = 0;
};

}  // namespace stellarium::fs
