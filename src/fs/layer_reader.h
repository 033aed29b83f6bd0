#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Reads the records of one sealed layer: the names, inodes and extended attributes of an image.
///
/// Threads: all functions may be called concurrently; a listing belongs to one thread.
/// Errors:  corrupt (a record that does not decode), io. Absence is an empty optional, not an error.
/// Cost:    1 to 3 µs a look-up from the block cache.
class LayerReader {
 public:
  LayerReader(const cas::Database& database, LayerId layer) : database_{database}, layer_{layer} {}

  LayerId layer() const { return layer_; }
  [[nodiscard]] Result<std::optional<Dirent>> lookup(Ino parent, std::string_view name) const;
  [[nodiscard]] Result<std::optional<Inode>> inode(Ino ino) const;

  /// One directory in cookie order, or the inodes of a run of numbers: two sequential scans make a readdirplus.
  class Listing {
   public:
    Listing(const cas::Database& database, LayerId layer, Ino dir, DirCookie after);
    /// The next entry; nothing at the end.
    [[nodiscard]] Result<std::optional<Dirent>> next();

   private:
    std::unique_ptr<cas::Database::Cursor> cursor_;
    std::string prefix_;
  };
  /// Entries of `dir` behind the cookie `after` (0: from the start). "." and ".." are not stored.
  Listing list(Ino dir, DirCookie after) const { return Listing{database_, layer_, dir, after}; }

  /// Walks inode records in ascending number, for callers that ask for mostly ascending numbers (readdirplus, export,
  /// gc).
  class InodeScan {
   public:
    InodeScan(const cas::Database& database, LayerId layer);
    [[nodiscard]] Result<std::optional<Inode>> at(Ino ino);  ///< any order works; ascending order is cheap
    /// The next record in ascending order, from the beginning.
    [[nodiscard]] Result<std::optional<std::pair<Ino, Inode>>> next();

   private:
    const cas::Database& database_;
    std::string prefix_;
    std::unique_ptr<cas::Database::Cursor> cursor_;  // made by the first question: many a scan is asked nothing
  };
  InodeScan scan_inodes() const { return InodeScan{database_, layer_}; }

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
  LayerId layer_;
};

}  // namespace stellarium::fs
