#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cas/hash.h"
#include "fs/types.h"

// Keys and values of the families `volume`, `map` and `extent` (docs/formats/volume-records.md).
//
// Encoding trusts its caller. Decoding trusts nobody: `corrupt`, saying what is wrong, for every record that no encoder
// writes; `version` for those of a later program.
namespace stellarium::fs {

/// Names a block map; never used twice in a store, 0 is none.
using MapId = std::uint64_t;

/// A block image under a name. Kept under the name's bytes.
struct VolumeRecord {
  std::uint64_t number = 0;  ///< of its inode, 38 bits; never used for another volume
  MapId map = 0;             ///< where its settled blocks are; the uppermost of a chain
  std::uint64_t size = 0;    ///< bytes
  std::uint64_t mapped = 0;  ///< bytes of the blocks that are not zeros in the map, for st_blocks
  StagedId staged = 0;       ///< the file that holds what was written since; 0: nothing was
  Timespec created = {}, changed = {};
  std::string origin = {};  ///< what it was cloned or imported from, for people
  bool operator==(const VolumeRecord&) const = default;
};
inline constexpr std::uint64_t kMaxVolumeNumber = (std::uint64_t{1} << 38) - 1;

std::string encode_volume(const VolumeRecord& record);
[[nodiscard]] Result<VolumeRecord> decode_volume(std::string_view value);

/// What is kept of a map besides its extents.
struct MapRecord {
  MapId parent = 0;  ///< knows the blocks that this one does not; always of a smaller number
  bool operator==(const MapRecord&) const = default;
};
std::string map_key(MapId map);
std::string encode_map(const MapRecord& record);
[[nodiscard]] Result<MapRecord> decode_map(std::string_view value);

/// Kept under the key of map 0, which no map has.
struct VolumeCounters {
  MapId next_map = 1;
  std::uint64_t next_number = 1;
  bool operator==(const VolumeCounters&) const = default;
};
std::string encode_volume_counters(const VolumeCounters& counters);
[[nodiscard]] Result<VolumeCounters> decode_volume_counters(std::string_view value);

/// Where the bytes of one block are.
struct Extent {
  cas::ChunkId id;           ///< a content of its own; all zero if `length` is 0
  std::uint32_t length = 0;  ///< bytes of it, at most kVolumeBlock, zeros behind it; 0: the whole block is zeros
  bool is_zeros() const { return length == 0; }
  bool operator==(const Extent&) const = default;
};
std::string extent_key(MapId map, std::uint64_t block);  ///< `block`: offset / kVolumeBlock
struct ExtentKey {
  MapId map = 0;
  std::uint64_t block = 0;
};
[[nodiscard]] Result<ExtentKey> decode_extent_key(std::string_view key);
std::string encode_extent(const Extent& extent);
[[nodiscard]] Result<Extent> decode_extent(std::string_view value);

}  // namespace stellarium::fs
