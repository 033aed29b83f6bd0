#include "fs/block_map.h"

#include <map>

#include "fs/families.h"
#include "fs/tinyvol.h"

namespace stellarium::fs {

Result<BlockMap> BlockMap::open(const cas::Database& database, MapId top) {
  std::vector<MapId> chain;
  for (MapId map = top; map != 0;) {
    if (chain.size() == kMaxChain) return fail(Errc::corrupt, "more than 64 block maps over one another");
    const auto value = database.get(kMapFamily, map_key(map));
    if (!value) return fail(value.error());
    if (!*value) return fail(Errc::corrupt, "block map " + std::to_string(map) + " is missing");
    const auto record = decode_map(**value);
    if (!record) return fail(record.error());
    // Parents are older, so a chain that loops would have to go up somewhere.
    if (record->parent >= map) return fail(Errc::corrupt, "block map " + std::to_string(map) + " is over a later one");
    chain.push_back(map);
    map = record->parent;
  }
  return BlockMap{database, std::move(chain)};
}

Result<Extent> BlockMap::find(std::uint64_t block) const {
  for (const MapId map : chain_) {
    const auto value = database_->get(kExtentFamily, extent_key(map, block));
    if (!value) return fail(value.error());
    if (*value) return decode_extent(**value);
  }
  return Extent{};
}

Result<BlockMap::Blocks> BlockMap::merge(std::uint64_t first, std::uint64_t last, std::size_t depth) const {
  std::map<std::uint64_t, Extent> merged;
  if (first >= last) return Blocks{};
  const bool all = depth == chain_.size();
  for (std::size_t at = depth; at-- > 0;) {
    const auto cursor = database_->scan(kExtentFamily, extent_key(chain_[at], first), extent_key(chain_[at], last));
    for (; cursor->valid(); cursor->next()) {
      const auto key = decode_extent_key(cursor->key());
      if (!key) return fail(key.error());
      const auto extent = decode_extent(cursor->value());
      if (!extent) return fail(extent.error());
      if (extent->is_zeros() && all) {
        merged.erase(key->block);
      } else {
        merged.insert_or_assign(key->block, *extent);
      }
    }
    if (auto walked = cursor->status(); !walked) return fail(walked.error());
  }
  return Blocks{merged.begin(), merged.end()};
}

Result<BlockMap::Blocks> BlockMap::list(std::uint64_t first, std::uint64_t last) const {
  return merge(first, last, chain_.size());
}

Result<BlockMap::Blocks> BlockMap::merged(std::size_t depth) const {
  return merge(0, kMaxVolumeSize / kVolumeBlock, depth);
}

Result<std::size_t> BlockMap::count(MapId map, std::size_t most) const {
  std::size_t count = 0;
  const auto cursor = database_->scan(kExtentFamily, extent_key(map, 0), map_key(map + 1));
  for (; cursor->valid() && count < most; cursor->next()) ++count;
  if (auto walked = cursor->status(); !walked) return fail(walked.error());
  return count;
}

Result<std::size_t> BlockMap::depth_to_merge(std::size_t fewer) const {
  std::size_t above = 0;
  for (std::size_t depth = 0; depth < chain_.size(); ++depth) {
    const bool enough = depth > fewer;
    const auto here = count(chain_[depth], enough ? 2 * above + 1 : ~std::size_t{0});
    if (!here) return fail(here.error());
    if (enough && *here > 2 * above) return depth;
    above += *here;
  }
  return chain_.size();
}

Result<bool> BlockMap::top_is_empty() const {
  const MapId top = chain_.front();
  const auto cursor = database_->scan(kExtentFamily, extent_key(top, 0), map_key(top + 1));
  const bool empty = !cursor->valid();
  if (auto walked = cursor->status(); !walked) return fail(walked.error());
  return empty;
}

void BlockMap::put(cas::Database::Batch& batch, std::uint64_t block, const Extent& extent) const {
  const std::string key = extent_key(chain_.front(), block);
  if (extent.is_zeros() && chain_.size() == 1) {
    batch.erase(kExtentFamily, key);
  } else {
    batch.put(kExtentFamily, key, encode_extent(extent));
  }
}

}  // namespace stellarium::fs
