#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cas/hash.h"

namespace stellarium::fs {

/// Volumes are cut at fixed places, so that a write changes the ids of the blocks that it touches and no others.
inline constexpr std::uint64_t kVolumeBlock = 64u << 10;  ///< bytes; the last block of a volume may be shorter
inline constexpr std::uint64_t kMaxVolumeSize = std::uint64_t{1} << 48;  ///< bytes: offsets have six

/// The manifest of a volume: which blocks it has, by content id [TinyVol] (docs/formats/tinyvol.md). A block that is
/// not named is the base's, or zeros where there is no base.
struct TinyVol {
  struct Block {
    cas::ChunkId id;           ///< all zero if `zero`
    std::uint64_t offset = 0;  ///< a multiple of kVolumeBlock, below the volume's size
    bool zero = false;         ///< reads as zeros although the base has bytes here
    bool operator==(const Block&) const = default;
  };
  cas::ContentId base;        ///< of another volume's manifest; all zero: none
  std::uint64_t size = 0;     ///< bytes, at most kMaxVolumeSize
  std::vector<Block> blocks;  ///< strictly ascending by offset

  bool has_base() const { return base != cas::ContentId{}; }
  bool operator==(const TinyVol&) const = default;
};

/// Bytes of the block at `offset` in a volume of `size`: kVolumeBlock, less at the volume's end.
std::uint64_t volume_block_length(std::uint64_t size, std::uint64_t offset);

/// 64 bytes and 48 for each block. The blocks must be as the reader demands them (asserted).
std::string encode_tinyvol(const TinyVol& volume);
/// Refuses everything that `encode_tinyvol` does not write: equal volumes have equal bytes. Errors: corrupt, version.
/// Cost: one pass; memory is bounded by the size of `bytes`.
[[nodiscard]] Result<TinyVol> decode_tinyvol(std::string_view bytes);

}  // namespace stellarium::fs
