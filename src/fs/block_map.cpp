#include "fs/block_map.h"

#include <map>

#include "fs/families.h"

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

Result<BlockMap::Blocks> BlockMap::list(std::uint64_t first, std::uint64_t last) const {
  std::map<std::uint64_t, Extent> merged;
  if (first >= last) return Blocks{};
  for (auto map = chain_.rbegin(); map != chain_.rend(); ++map) {
    const auto cursor = database_->scan(kExtentFamily, extent_key(*map, first), extent_key(*map, last));
    for (; cursor->valid(); cursor->next()) {
      const auto key = decode_extent_key(cursor->key());
      if (!key) return fail(key.error());
      const auto extent = decode_extent(cursor->value());
      if (!extent) return fail(extent.error());
      if (extent->is_zeros()) {
        merged.erase(key->block);
      } else {
        merged.insert_or_assign(key->block, *extent);
      }
    }
    if (auto walked = cursor->status(); !walked) return fail(walked.error());
  }
  return Blocks{merged.begin(), merged.end()};
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
