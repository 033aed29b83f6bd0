#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/catalog.h"
#include "fs/clones.h"
#include "fs/open_clones.h"
#include "fs/snapshot_copies.h"
#include "fs/staging.h"

namespace stellarium::fs {

/// Makes snapshots of clones, mounted ones, too (docs/clones.md, "A snapshot while it is mounted").
///
/// Names, attributes, and files that nobody writes are exactly as they were at one moment. Programs that write files
/// keep the staged files that they have, and the snapshot gets copies; a file that changes all the time is *fuzzy*: its
/// copy holds bytes of different moments.
/// Cost:    one batch and one sync, whatever the size of the tree, and the bytes of the files that are open; those that
///          were open lately are asked for mappings, 10 µs each.
/// Locks:   copying holds none. The moment itself holds the catalog's, the gate's and the tree's (docs/locking.md).
/// Threads: all functions may be called concurrently.
class Snapshots {
 public:
  struct Parts {
    cas::Database& database;
    Catalog& catalog;
    Staging& staging;
    OpenClones& clones;
  };
  explicit Snapshots(const Parts& parts) : parts_{parts} {}

  struct Made {
    std::vector<LayerId> layers;         ///< of the snapshot, the uppermost first
    bool mounted = false;                ///< whether the clone was
    std::uint64_t files = 0, bytes = 0;  ///< that were copied because programs have them open for writing
    std::vector<Ino> fuzzy;              ///< those of them that changed while they were copied
  };
  /// Durable on return. `go_on` is asked while files are copied; false ends it, and nothing was made.
  /// Errors: invalid_argument, not_found, exists of the names; busy (the clone's files were being copied all the time,
  /// or it was mounted or unmounted); cancelled, out_of_space, io.
  [[nodiscard]] Result<Made> make(
      const std::string& clone, const std::string& name, const std::function<bool()>& go_on = [] { return true; });

 private:
  class Making;
  const Parts parts_;
};

}  // namespace stellarium::fs
