#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/volume_records.h"

namespace stellarium::fs {

/// Which content each block of a volume is: the extents of a map, and where it has none, those of its parents. So a
/// clone is two small maps over the frozen one that both share.
///
/// Threads: `find` and `list` may be called concurrently; the chain never changes while the object lives. What is put
///          into a batch is visible once the batch was written.
/// Cost:    `find` is one look-up for each map of the chain, 1 to 5 µs each.
class BlockMap {
 public:
  /// Longer chains are refused (corrupt); Volumes merges some before.
  static constexpr std::size_t kMaxChain = 64;

  /// Borrows the database. Errors: corrupt (a map is missing, or the chain does not end).
  static Result<BlockMap> open(const cas::Database& database, MapId top);

  const std::vector<MapId>& chain() const { return chain_; }  ///< the uppermost first
  /// What block number `block` is; zeros where no map says anything.
  [[nodiscard]] Result<Extent> find(std::uint64_t block) const;
  /// Every block of [first, last) that is not zeros, ascending. Memory: 48 bytes for each block that any map of the
  /// chain knows there.
  using Blocks = std::vector<std::pair<std::uint64_t, Extent>>;
  [[nodiscard]] Result<Blocks> list(std::uint64_t first, std::uint64_t last) const;
  /// How many of the uppermost maps to merge so that the chain becomes shorter by at least `fewer`: those above one
  /// that is more than twice as large as they are together, else all. So a map is written anew only as often as what is
  /// above it has grown as large, and merging costs what was written, not what is there. Cost: counts the extents of
  /// these, and as many again.
  [[nodiscard]] Result<std::size_t> depth_to_merge(std::size_t fewer) const;
  /// What the uppermost `depth` maps say together; zeros, too, where a map below them may say otherwise. Memory as
  /// `list`.
  [[nodiscard]] Result<Blocks> merged(std::size_t depth) const;
  /// Whether the uppermost map says nothing by itself.
  [[nodiscard]] Result<bool> top_is_empty() const;
  /// The block becomes `extent` in the uppermost map. Zeros over no parent are no record at all.
  void put(cas::Database::Batch& batch, std::uint64_t block, const Extent& extent) const;

 private:
  Result<Blocks> merge(std::uint64_t first, std::uint64_t last, std::size_t depth) const;
  Result<std::size_t> count(MapId map, std::size_t most) const;  // of its extents; `most` if there are more

  BlockMap(const cas::Database& database, std::vector<MapId> chain) : database_{&database}, chain_{std::move(chain)} {}
  const cas::Database* database_;
  std::vector<MapId> chain_;
};

}  // namespace stellarium::fs
