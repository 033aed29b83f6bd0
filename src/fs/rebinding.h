#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/catalog.h"
#include "fs/open_clones.h"
#include "fs/staged_reading.h"
#include "fs/staging.h"

namespace stellarium::fs {

/// A staged file that was read into the store.
struct ReadFile {
  LayerId layer = 0;  ///< the lowest one whose record of `ino` names the file
  Ino ino = 0;
  StagedId staged = 0;
  struct stat seen = {};  ///< of the file, before it was read
  SettledBody body = {};
};

/// The last step of settling: records name contents instead of staged files, if these are still what was read.
///
/// A file of a mounted clone's own layer is looked at once more while nobody can begin to write it. A frozen layer's
/// file is named by the records of the layer, by those that clones above it copied to change attributes, and by those
/// that a fold copied down: all of them change in one batch, while nothing changes in these clones. So no record ever
/// names a file that it seems to own but shares (CloneBodies::owns). Records: their times and sizes become what the
/// file knew better; what programs see stays the same, but for blocks. Threads: one at a time.
class Rebinding {
 public:
  /// Borrows all of them.
  Rebinding(cas::Database& database, Catalog& catalog, Staging& staging, OpenClones& clones)
      : database_{database}, catalog_{catalog}, staging_{staging}, clones_{clones} {}

  struct Outcome {
    std::vector<StagedId> settled;  ///< files that no record names any more, once the batches are durable
    std::uint64_t bytes = 0;        ///< their sizes
    std::uint64_t busy = 0;         ///< files that are in use, or have changed since
  };
  /// `files` are all of one layer; what they became is durable. Written in unsynced batches, none of which holds a
  /// clone's lock for more than about two milliseconds. Errors: corrupt, io, out_of_space.
  [[nodiscard]] Result<void> bind(std::span<const ReadFile> files, Outcome& outcome);

 private:
  /// A frozen layer, all above it and those below it down to the image, ascending.
  Result<std::vector<LayerId>> layers_with(LayerId layer) const;
  Result<void> bind_slice(std::span<const ReadFile> files, std::vector<const ReadFile*>& left, Outcome& outcome);
  Result<void> bind_mounted(const OpenClones::Clone& clone, std::span<const ReadFile> files,
                            std::vector<const ReadFile*>& left, Outcome& outcome);
  Result<void> bind_quiet(std::span<const ReadFile> files, const std::vector<LayerId>& layers, Outcome& outcome);
  Result<bool> is_as_seen(const ReadFile& file);
  Result<bool> add_record(cas::Database::Batch& batch, LayerId layer, const ReadFile& file, bool must_be_linked);
  void count(const ReadFile& file, Outcome& outcome) const;

  cas::Database& database_;
  Catalog& catalog_;
  Staging& staging_;
  OpenClones& clones_;
};

}  // namespace stellarium::fs
