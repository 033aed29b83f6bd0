#pragma once
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "cas/content_store.h"
#include "fs/catalog.h"
#include "tools/server/store.h"

namespace stellarium::server {

using ChunkSet = std::unordered_set<cas::ChunkId, cas::HashOfHash>;

/// Finds the bytes of damaged chunks elsewhere than in the segments: parts of files in hot files and in memory, recipes
/// in the database, layer objects by writing them once more from the database's records.
///
/// Memory: one entry for each damaged chunk, and the layer objects that are damaged. Threads: one at a time.
class Salvage {
 public:
  /// Both are borrowed.
  Salvage(Store& store, const ChunkSet& damaged) : store_{store}, damaged_{damaged} {}
  /// Looks through all images, clones and snapshots for what the damaged chunks belong to. A layer that cannot be read
  /// is left out.
  Result<void> look();
  /// A copy with the right bytes, if there is one.
  std::optional<cas::ContentStore::Copy> find(const cas::ChunkId& chunk);

 private:
  struct Place {
    tier::ContentRef content;
    std::uint64_t offset = 0;
    std::uint32_t size = 0;
    const fs::Image* object = nullptr;  ///< whose layer object it is, if it is no file
  };
  void look_at(fs::LayerId layer, const std::string& name);
  void note(const tier::ContentRef& content, const fs::Image* object);
  std::optional<cas::ContentStore::Copy> copy_at(const Place& place);
  const std::string& object_of(const fs::Image& image);

  Store& store_;
  const ChunkSet& damaged_;
  std::vector<fs::Image> images_;
  std::unordered_set<cas::ContentId, cas::HashOfHash> seen_;
  std::unordered_multimap<cas::ChunkId, Place, cas::HashOfHash> places_;
  std::unordered_map<cas::ChunkId, std::string, cas::HashOfHash> pages_;  ///< of recipes
  std::map<fs::LayerId, std::string> objects_;                            ///< written again, on demand
};

}  // namespace stellarium::server
