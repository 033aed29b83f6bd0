#pragma once
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/layer_reader.h"
#include "fs/staging.h"

namespace stellarium::fs {

/// What the records of a writable layer weigh, in bytes: an upper bound of what the clone itself takes in the store,
/// its staged files apart. The same bytes always weigh the same, whoever asks.
///
///   a file, directory, symlink, … that was made in this layer, and each further name of a file   512
///   bytes that were settled, holes left out, unless the layers below have them under the same inode   their number
///   extended attributes that the layers below do not have so   name and value
///
/// Threads: all functions may be called concurrently. Cost: one look-up, and for an inode of the layers below two more.
/// Errors:  corrupt, io.
class OwnRecords {
 public:
  static constexpr std::uint64_t kNode = 512;  ///< record, name and what the database adds

  /// `layers`: as of WritableTree. Errors: also corrupt, if there is only one or a record of a layer is missing.
  static Result<OwnRecords> open(const cas::Database& database, const std::vector<LayerId>& layers);

  LayerId layer() const { return all_.layer(); }
  Result<std::uint64_t> weight(Ino ino) const;  ///< 0: the layer has no record of it
  /// All of it, with the blocks of its staged files.
  Result<std::uint64_t> used(Staging& staging) const;
  struct Total {
    std::uint64_t weight = 0;
    std::vector<StagedId> staged = {};  ///< files that records of the layer name and no lower one does
  };
  Result<Total> total() const;  ///< one walk over the layer's inodes
  /// Staged files that records of the layers below name. One walk over what clones wrote there.
  Result<std::vector<StagedId>> staged_below() const;

 private:
  OwnRecords(const cas::Database& database, const std::vector<LayerId>& layers, Ino first)
      : database_{database},
        all_{database, layers},
        below_{database, {layers.begin() + 1, layers.end()}},
        first_{first} {}
  Result<std::uint64_t> weight(Ino ino, const Inode& inode) const;
  Result<std::uint64_t> weight_of_xattrs(Ino ino) const;

  const cas::Database& database_;
  LayerReader all_, below_;
  Ino first_;  // numbers from here on were given out in this layer
};

}  // namespace stellarium::fs
