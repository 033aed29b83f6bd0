#pragma once
#include <functional>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/types.h"

namespace stellarium::fs {

/// A layer that nobody reads any more.
struct DeadLayer {
  LayerId layer = 0;
  LayerId parent = 0;  ///< the layer that it lay on; 0: none, or not known
};

/// Removes the names, inodes and attributes of layers, whose own records are the caller's; returns the staged files
/// that only they named, which may go when this is durable. Files of a layer whose parent is not known are not told.
///
/// `layers`: ascending. `go_on` is asked after at most 1,024 records; false ends it, and `complete` is then false.
/// Cost:    2 µs a record. Layers with consecutive numbers, as clones that were made together, are one range: three
///          seeks for all of them. Up to 65,536 records of a range are deleted one by one: a range delete makes every
///          look-up of its family slower until it is flushed, and the flush costs more than that many deletes.
struct ErasedLayers {
  std::vector<StagedId> staged;
  bool complete = true;
};
Result<ErasedLayers> erase_dead_layers(cas::Database& database, const std::vector<DeadLayer>& layers,
                                       const std::function<bool()>& go_on);

}  // namespace stellarium::fs
