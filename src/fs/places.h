#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

// A sparse host file that lies over something else: of each place of 4 KiB that is there it has all bytes, and a hole
// shows what is below. The host's own hole map says which places are there (exact_holes.h).
namespace stellarium::fs {

inline constexpr std::uint64_t kPlace = 4096;  ///< bytes
inline constexpr std::uint64_t place_begin(std::uint64_t offset) {
  return offset - offset % kPlace;
}
inline constexpr std::uint64_t place_end(std::uint64_t offset) {
  return place_begin(offset + kPlace - 1);
}

struct PlaceRun {
  std::uint64_t end = 0;
  bool there = false;
};
/// Whether the byte at `offset` is there, and how far that goes; at most to `size`. Cost: one or two lseek(2).
[[nodiscard]] Result<PlaceRun> run_at(int fd, std::uint64_t offset, std::uint64_t size);

/// Puts what lies below the file into all of `out`.
using ReadBelow = std::function<Result<void>(std::uint64_t offset, MutableByteSpan out)>;
/// Fills all of `out` with what the file has and, in holes, what is below. Nobody may change the file meanwhile.
[[nodiscard]] Result<void> read_over(int fd, std::uint64_t offset, MutableByteSpan out, const ReadBelow& below);

/// Bytes that fill the places which they touch: a place is there as a whole or not at all.
struct WholePlaces {
  std::uint64_t offset = 0;
  ByteSpan bytes;  ///< the caller's own, or `joined`
  std::vector<std::byte> joined = {};
};
/// `fill` says what the first and the last place have where `data` has nothing; the last one ends at `limit`, if that
/// comes first.
[[nodiscard]] Result<WholePlaces> whole_places(std::uint64_t offset, ByteSpan data, std::uint64_t limit,
                                               const ReadBelow& fill);

}  // namespace stellarium::fs
