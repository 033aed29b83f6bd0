#include "fs/fuse/sparse_map.h"

#include <algorithm>

namespace stellarium::fs::fuse {
namespace {

constexpr std::size_t kKept = 4;

const cas::ChunkId& zero_chunk() {
  static const cas::ChunkId id = cas::hash_of(std::vector<std::byte>(cas::kMaxChunk));
  return id;
}

}  // namespace

SparseMap::SparseMap(const cas::Recipe& recipe) : size_{recipe.size} {
  std::uint64_t at = 0;
  for (const cas::Recipe::Entry& entry : recipe.entries) {
    const std::uint64_t end = at + std::uint64_t{entry.size} * entry.repeat;
    const bool follows_hole = !holes_.empty() && holes_.back().end == at;
    // Zeros are cut into chunks of the largest size; only the last one of a run is shorter, and worth a comparison.
    const bool zeros = entry.size == cas::kMaxChunk
                           ? entry.id == zero_chunk()
                           : follows_hole && entry.id == cas::hash_of(std::vector<std::byte>(entry.size));
    if (zeros && follows_hole) {
      holes_.back().end = end;
    } else if (zeros) {
      holes_.push_back({at, end});
    }
    at = end;
  }
}

std::uint64_t SparseMap::next_data(std::uint64_t offset) const {
  const auto hole = std::ranges::upper_bound(holes_, offset, {}, &Hole::end);
  return hole != holes_.end() && hole->begin <= offset ? hole->end : offset;
}

std::uint64_t SparseMap::next_hole(std::uint64_t offset) const {
  const auto hole = std::ranges::upper_bound(holes_, offset, {}, &Hole::end);
  return hole == holes_.end() ? size_ : std::max(offset, hole->begin);
}

Result<std::shared_ptr<const SparseMap>> SparseMaps::find(const tier::ContentRef& content) {
  {
    const MutexLock lock{mutex_};
    const auto kept = std::ranges::find(kept_, content.id, &Kept::content);
    if (kept != kept_.end()) return kept->map;
  }
  Result<cas::Recipe> recipe = contents_.recipe(content.id, content.size);
  // Of what is not all here yet nobody knows the holes: then it has none, which lseek(2) allows.
  if (!recipe && recipe.error().code == Errc::not_found)
    return std::make_shared<const SparseMap>(cas::Recipe{content.id, content.size, {}});
  if (!recipe) return fail(recipe.error());
  auto map = std::make_shared<const SparseMap>(*recipe);
  const MutexLock lock{mutex_};
  if (kept_.size() == kKept) kept_.erase(kept_.begin());
  kept_.push_back({content.id, map});
  return map;
}

}  // namespace stellarium::fs::fuse
