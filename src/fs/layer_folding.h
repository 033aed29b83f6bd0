#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/catalog.h"
#include "fs/layer_fold.h"
#include "fs/open_clones.h"
#include "fs/staging.h"

namespace stellarium::fs {

/// Keeps chains of layers short: what removed snapshots leave, frozen layers without a name and with one layer on
/// each, is folded into one (docs/clones.md, "Layers that nobody names"). Images are never touched.
///
/// Clones above may be mounted, and be written, snapshotted and removed meanwhile: nobody sees a difference. A crash at
/// any time leaves the chain as it was or as it is to be.
/// Locks:   each part, about two milliseconds, holds the catalog's and keeps clones from being mounted; the last one
///          takes the lock of each mounted clone above for a moment.
/// Threads: one at a time.
class LayerFolding {
 public:
  struct Parts {
    cas::Database& database;
    Catalog& catalog;
    Staging& staging;
    OpenClones& clones;
  };
  explicit LayerFolding(const Parts& parts) : parts_{parts} {}

  struct Report {
    std::uint64_t folded = 0;  ///< layers, which are left to Catalog::sweep
    std::uint64_t busy = 0;    ///< layers that somebody reads: to be tried again
  };
  /// Folds all that can be. `go_on` is asked after each part, with nothing locked; it may sleep; false ends the work.
  /// Errors: corrupt, io, out_of_space.
  [[nodiscard]] Result<Report> run(const std::function<bool()>& go_on);

 private:
  enum class Outcome { folded, busy, changed, stopped };
  [[nodiscard]] Result<Outcome> fold(LayerId upper, const std::function<bool()>& go_on);
  [[nodiscard]] Result<void> finish(const Catalog::Fold& fold, cas::Database::Batch&& batch,
                                    std::span<const OpenClones::Clone> open, const Catalog::WriteLayer& write) const;

  const Parts parts_;
};

}  // namespace stellarium::fs
