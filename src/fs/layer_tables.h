#pragma once
#include <array>
#include <cstddef>
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
/// Threads: one at a time; but one for each part may add to it.
class LayerTables {
 public:
  LayerTables(cas::Database& database, LayerId layer, std::filesystem::path scratch);
  LayerTables(const LayerTables&) = delete;
  LayerTables& operator=(const LayerTables&) = delete;
  ~LayerTables();  ///< removes what was not ingested

  /// What an entry has for one family. Every entry is to be added to each.
  enum class Part : std::uint8_t { dirents, inodes, xattrs };
  static constexpr std::size_t kParts = 3;

  Result<void> add(Part part, const LayerEntry& entry);
  Result<void> add(const LayerEntry& entry);
  /// No more entries for this part: what of `ingest` takes long.
  Result<void> finish(Part part);
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
  static Result<void> close(Family& family);
  Family& family(Part part) { return families_[static_cast<std::size_t>(part)]; }

  cas::Database& database_;
  LayerId layer_;
  std::filesystem::path scratch_;
  std::array<Family, kParts> families_;
  std::uint64_t inodes_ = 0, bytes_ = 0;  // of part inodes
};

}  // namespace stellarium::fs
