#pragma once
#include <optional>
#include <set>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/catalog.h"
#include "fs/layer_uses.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Which layers could be folded into the ones below them (layer_folding.h): both are frozen, neither has a name, and
/// each has one layer on it. So only the clones above the upper one see either, and all of them see both.
///
/// Threads: none; the catalog's lock guards it.
class FoldableLayers {
 public:
  /// Looks at what has become such a layer since the last call. Cost: up to three records for each.
  [[nodiscard]] Result<void> note(const cas::Database& database, LayerUses& uses);
  /// Upper ones that were such when they were noted.
  std::vector<LayerId> list() const { return {uppers_.begin(), uppers_.end()}; }
  std::size_t size() const { return uppers_.size(); }
  /// As it is now; forgets the layer if it is none any more.
  [[nodiscard]] Result<std::optional<Catalog::Fold>> check(const cas::Database& database, const LayerUses& uses,
                                                           LayerId upper);

 private:
  std::set<LayerId> uppers_;
};

}  // namespace stellarium::fs
