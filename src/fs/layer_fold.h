#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/layer_reader.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Folds what a layer says into the layer below it, part by part, while both are read.
///
/// The upper layer hides what the lower one says of the same names and inodes; so whatever is copied down, both
/// together show the same tree before, between and after the parts, and when all is copied the lower one shows it
/// alone. A fold that was broken off may be left so, or begun anew: doing a part again changes nothing.
/// Names and inodes that are gone are forgotten if no layer below the lower one has them: a clone that goes on making
/// and removing files does not grow.
/// Nothing but a fold changes the two layers meanwhile, and nobody reads the lower one without the upper one.
///
/// Threads: one at a time. Errors: corrupt, io. Cost: 4 µs a record of the upper layer, 40 µs for a name that is gone.
class LayerFold {
 public:
  struct Layers {
    LayerId upper = 0, lower = 0;
    std::vector<LayerId> below;  ///< under the lower one, uppermost first; at least one
  };
  LayerFold(const cas::Database& database, Layers layers);

  struct Part {
    cas::Database::Batch batch;
    std::vector<StagedId> replaced;  ///< staged files that no record names once the batch is durable
    bool last = false;
  };
  /// The next part, which is to be written before the one after it is asked for. `effort`: about how many microseconds
  /// it may take. `keep_unlinked`: inodes without links may be open in a mounted clone; else they are gone.
  [[nodiscard]] Result<Part> next(std::size_t effort, bool keep_unlinked);

 private:
  [[nodiscard]] Result<bool> add_names(Part& part, std::size_t effort);
  [[nodiscard]] Result<bool> add_inodes(Part& part, std::size_t effort, bool keep_unlinked);
  [[nodiscard]] Result<bool> add_inode(Part& part, Ino ino, const Inode& inode, bool gone);
  [[nodiscard]] Result<void> add_xattrs(Part& part, Ino ino, bool before, bool after);
  [[nodiscard]] Result<bool> erase_names_of(Part& part, Ino directory);

  const cas::Database& database_;
  const LayerId upper_, lower_;
  const LayerReader below_;
  bool names_done_ = false;
  std::string from_;  // the key where the next part begins
  std::size_t spent_ = 0;
};

}  // namespace stellarium::fs
