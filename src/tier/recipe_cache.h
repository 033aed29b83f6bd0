#pragma once
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/content_store.h"
#include "tier/content_map.h"
#include "tier/remote_contents.h"
#include "tier/s3_fifo.h"

namespace stellarium::tier {

/// The maps of contents that are being read from frames. Contents of one chunk need none and are not kept.
///
/// Memory:  at most `budget` bytes of maps, or one map if a single one is larger.
/// Threads: all functions may be called concurrently; two threads may load the same recipe at once, which is harmless.
/// Errors:  those of ContentStore::recipe; corrupt if the recipe is not of that content and size.
class RecipeCache {
 public:
  /// `remote`: knows recipes that the store has not; may be null. Both are borrowed.
  RecipeCache(cas::ContentStore& store, RemoteContents* remote, std::uint64_t budget)
      : store_{store}, remote_{remote}, order_{budget} {}

  using MapPtr = std::shared_ptr<const ContentMap>;
  Result<MapPtr> get(const cas::ContentId& content, std::uint64_t size);
  MapPtr find(const cas::ContentId& content);  ///< only what is in memory, else null

 private:
  using Order = S3Fifo<cas::ContentId, MapPtr, cas::HashOfHash>;

  cas::ContentStore& store_;
  RemoteContents* const remote_;
  Mutex mutex_;
  Order order_ GUARDED_BY(mutex_);
  std::unordered_map<cas::ContentId, Order::NodePtr, cas::HashOfHash> maps_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::tier
