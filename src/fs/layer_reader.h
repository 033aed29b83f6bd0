#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Reads the records of a tree: the names, inodes and extended attributes of an image, which is one sealed layer, or of
/// a clone, which is a layer over others. What an upper layer says of a name or an inode hides what the lower ones say;
/// the extended attributes of an inode are all in the layer of its record.
///
/// Threads: all functions may be called concurrently; a listing belongs to one thread.
/// Errors:  corrupt (a record that does not decode), io. Absence is an empty optional, not an error.
/// Cost:    1 to 3 µs a look-up from the block cache, 0.6 µs for each layer that does not have it.
class LayerReader {
 public:
  LayerReader(const cas::Database& database, LayerId layer) : LayerReader{database, std::vector{layer}} {}
  /// `layers`: the uppermost first; at least one.
  LayerReader(const cas::Database& database, std::vector<LayerId> layers)
      : database_{database}, layers_{std::move(layers)} {}

  LayerId layer() const { return layers_.front(); }
  const std::vector<LayerId>& layers() const { return layers_; }
  [[nodiscard]] Result<std::optional<Dirent>> lookup(Ino parent, std::string_view name) const;
  [[nodiscard]] Result<std::optional<Inode>> inode(Ino ino) const;
  struct Located {
    LayerId layer;
    Inode inode;
  };
  [[nodiscard]] Result<std::optional<Located>> locate(Ino ino) const;  ///< and where its record is
  /// The entry under this very name in the uppermost layer that speaks of it, with inode 0 if it says that the name is
  /// gone; and a cookie for a name that no layer has.
  struct Place {
    LayerId layer = 0;  ///< 0: no layer speaks of the name
    Dirent entry;       ///< without a layer, only cookie and name are set
  };
  [[nodiscard]] Result<Place> place(Ino parent, std::string_view name) const;

  /// One directory in cookie order, or the inodes of a run of numbers: two sequential scans make a readdirplus.
  class Listing {
   public:
    Listing(const cas::Database& database, const std::vector<LayerId>& layers, Ino dir, DirCookie after);
    /// The next entry; nothing at the end.
    [[nodiscard]] Result<std::optional<Dirent>> next();

   private:
    std::vector<std::unique_ptr<cas::Database::Cursor>> cursors_;  // one a layer
  };
  /// Entries of `dir` behind the cookie `after` (0: from the start). "." and ".." are not stored.
  Listing list(Ino dir, DirCookie after) const { return Listing{database_, layers_, dir, after}; }

  /// Walks inode records in ascending number, for callers that ask for mostly ascending numbers (readdirplus, export,
  /// gc).
  class InodeScan {
   public:
    InodeScan(const cas::Database& database, const std::vector<LayerId>& layers);
    [[nodiscard]] Result<std::optional<Inode>> at(Ino ino);  ///< any order works; ascending order is cheap
    /// The next record in ascending order, from the beginning.
    [[nodiscard]] Result<std::optional<std::pair<Ino, Inode>>> next();

   private:
    struct Layer {
      std::string prefix;
      std::unique_ptr<cas::Database::Cursor> cursor;  // made by the first question: many a scan is asked nothing
    };
    const cas::Database& database_;
    std::vector<Layer> layers_;
  };
  InodeScan scan_inodes() const { return InodeScan{database_, layers_}; }

  [[nodiscard]] Result<std::optional<std::string>> xattr(Ino ino, std::string_view name) const;
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> xattrs(Ino ino) const;  ///< names ascending
  [[nodiscard]] Result<bool> any_xattrs() const;  ///< of any inode of the layer

  /// Follows `path` from the root; symlinks in the middle and, if `follow_last`, at the end are followed inside the
  /// image (never above its root; at most 40, then invalid_argument with ELOOP).
  struct Found {
    Ino ino;
    Inode inode;
  };
  [[nodiscard]] Result<Found> resolve(std::string_view path, bool follow_last) const;

 private:
  const cas::Database& database_;
  std::vector<LayerId> layers_;
};

}  // namespace stellarium::fs
