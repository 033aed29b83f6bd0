#pragma once
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace stellarium::cas {

/// Finds content-defined cut points in a byte stream.
///
/// Method:  FastCDC, normalized chunking with two bytes per round (Xia et al., USENIX ATC 2016, TPDS 2020). We differ
///          in two points: the gear table is our own (chunker_gear.h), and hashing begins one window before `min`, so
///          that whether a position can be a cut depends on the 64 bytes before it only.
/// Shape:   the stream may arrive in spans of any size; the cuts depend on the concatenated bytes only.
/// Units:   bytes. Chunks are min … max long, near avg in the mean; only the last one may be shorter than min.
/// Zeros:   a run of zeros (with the default sizes: of any repeated byte) is not cut before max, so that holes become
///          equal chunks of max bytes.
/// Cost:    one pass that skips the first min bytes of a chunk, constant state, no allocation.
/// Errors:  none. Invalid `Params` are a bug in the caller (assert); use `valid()` on values from outside.
/// Threads: not synchronized; separate objects are independent.
///
/// That contents of at most `kMaxChunk` bytes (recipe.h) are not cut at all is the caller's rule: it knows their size.
class Chunker {
 public:
  struct Params {
    std::uint32_t min = 8u << 10;
    std::uint32_t avg = 32u << 10;  ///< a power of two
    std::uint32_t max = 64u << 10;

    bool valid() const;  ///< 64 ≤ min < avg < max ≤ 1 GiB; avg a power of two, at least 256
  };
  struct Step {
    std::size_t taken;  ///< bytes, from the front of what was given, that belong to the current chunk
    bool cut;           ///< the chunk ends after them; the next byte begins a new one
  };

  Chunker() : Chunker{Params{}} {}
  explicit Chunker(const Params& params);

  /// Walks on through `data` up to the next cut. Without a cut all of `data` is taken.
  /// Call again with the rest; at the end of the stream the chunk that is still open is the last one.
  Step next(ByteSpan data);

  /// Exactly `next` on `count` zero bytes, at a cost of at most 64 of them.
  struct ZeroStep {
    std::uint64_t taken;
    bool cut;
  };
  ZeroStep next_zeros(std::uint64_t count);

  /// How many of `count` zero bytes form whole chunks of `max` bytes if a chunk begins here (nothing is open); else 0.
  /// They leave the chunker as it is, so a hole of any size costs the same: one entry with a repeat count.
  std::uint64_t whole_zero_bytes(std::uint64_t count) const;

  std::uint32_t open_size() const { return position_; }  ///< bytes of the current chunk so far
  void reset();                                          ///< forgets the open chunk: a new stream begins
  const Params& params() const { return params_; }

 private:
  Step scan(ByteSpan data, std::uint64_t mask);

  Params params_;
  std::uint64_t mask_before_;   // harder to meet: up to avg
  std::uint64_t mask_after_;    // easier to meet: from avg on
  std::uint64_t gear_ = 0;      // rolling hash of the bytes from min - 64 on
  std::uint32_t position_ = 0;  // bytes of the open chunk
};

}  // namespace stellarium::cas
