#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/layer_entry.h"

namespace stellarium::fs {

/// Turns the entries of a layer, which come in layer order, into sorted tables of the families dirent, inode and xattr,
/// and moves those into the database. Nothing is visible before `ingest`; after it, the layer is complete but still has
/// to be published.
///
/// Memory:  the table writers' own (a filter and an index for up to 250,000 records of each family).
/// Crashes: leaves *.sst files in `scratch` at most, which whoever opens the store removes.
/// Threads: one at a time.
class LayerTables {
 public:
  LayerTables(cas::Database& database, LayerId layer, std::filesystem::path scratch);
  LayerTables(const LayerTables&) = delete;
  LayerTables& operator=(const LayerTables&) = delete;
  ~LayerTables();  ///< removes what was not ingested

  Result<void> add(const LayerEntry& entry);
  Result<void> ingest();
  std::uint64_t inodes() const { return inodes_; }
  std::uint64_t bytes() const { return bytes_; }  ///< of contents, each inode counted once

 private:
  struct Family {
    const cas::Family* family;
    std::unique_ptr<cas::Database::TableBuilder> open;
    std::vector<std::filesystem::path> files;
  };
  Result<void> put(Family& family, const std::string& key, std::string_view value);
  Result<void> close(Family& family);

  cas::Database& database_;
  LayerId layer_;
  std::filesystem::path scratch_;
  Family dirents_, inode_records_, xattrs_;
  std::uint64_t inodes_ = 0, bytes_ = 0;
};

}  // namespace stellarium::fs
