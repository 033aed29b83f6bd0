#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "cas/content_store.h"
#include "tier/tier.h"

namespace stellarium::fs::fuse {

/// Where a content's long runs of zeros are: SEEK_HOLE and SEEK_DATA for sparse files, from the recipe alone.
class SparseMap {
 public:
  explicit SparseMap(const cas::Recipe& recipe);
  std::uint64_t next_data(std::uint64_t offset) const;  ///< the content's size if only zeros follow
  std::uint64_t next_hole(std::uint64_t offset) const;  ///< the content's size if no hole follows

 private:
  struct Hole {
    std::uint64_t begin, end;
  };
  std::vector<Hole> holes_;  ///< ascending, not touching
  std::uint64_t size_;
};

/// Maps of the contents that were asked about last: a copy of a sparse file asks twice per extent.
/// Threads: `find` may be called concurrently.
class SparseMaps {
 public:
  explicit SparseMaps(cas::ContentStore& contents) : contents_{contents} {}
  [[nodiscard]] Result<std::shared_ptr<const SparseMap>> find(const tier::ContentRef& content);

 private:
  struct Kept {
    cas::ContentId content;
    std::shared_ptr<const SparseMap> map;
  };
  cas::ContentStore& contents_;
  Mutex mutex_;
  std::vector<Kept> kept_ GUARDED_BY(mutex_);  ///< most recent last
};

}  // namespace stellarium::fs::fuse
