#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"

namespace stellarium::cas {

/// How the data of a frame is stored. The values are part of the format (docs/formats/cosmic-pack.md).
enum class Codec : std::uint8_t {
  raw = 0,
  zstd = 1,      ///< one zstd frame (RFC 8878) that states its content size, without dictionary
  zstd_x86 = 2,  ///< the same of data whose branches were converted (branch_filter.h)
};
inline constexpr Codec kLastCodec = Codec::zstd_x86;

inline constexpr int kMinLevel = 1, kMaxLevel = 22;  ///< of zstd; what users may ask for

/// Compresses with zstd at one level.
///
/// Threads: all functions may be called concurrently; a context is kept for as many calls as ever ran at once.
/// Memory:  for inputs of 256 KiB at most 1.3 MiB a context up to level 3, 5.3 MiB from level 19 on.
class Compressor {
 public:
  explicit Compressor(int level);  ///< clamped to kMinLevel … kMaxLevel
  ~Compressor();
  Compressor(Compressor&&) noexcept;
  Compressor& operator=(Compressor&&) noexcept;

  /// Compresses `raw` into the front of `out` and says how many bytes that took; nothing if it needs more than `out`
  /// has. The same input, level and library version give the same bytes.
  std::optional<std::size_t> compress(ByteSpan raw, MutableByteSpan out);
  int level() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Undoes what Compressor did, on bytes that nobody vouches for.
///
/// Threads: all functions may be called concurrently; a context is kept for as many calls as ever ran at once.
/// Memory:  about 100 KiB a context.
class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  Decompressor(Decompressor&&) noexcept;
  Decompressor& operator=(Decompressor&&) noexcept;

  /// Fills all of `raw` (at least one byte). Errors: corrupt, unless `stored` is exactly one zstd frame of exactly
  /// raw.size() bytes. Nothing is written outside `raw`, whatever `stored` claims.
  [[nodiscard]] Result<void> decompress(ByteSpan stored, MutableByteSpan raw);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace stellarium::cas
