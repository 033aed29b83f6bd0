#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/io.h"
#include "base/result.h"
#include "cas/content_store.h"
#include "cas/database.h"

namespace stellarium::fs {

struct RebuildReport {
  std::uint64_t images = 0, layers = 0;  ///< restored
  std::uint64_t clones = 0;              ///< and snapshots, of `lost`
  std::vector<std::string> lost;         ///< one line each: which image or clone, why; damaged stretches of the journal
};

/// Fills the families of names and layers of an empty database from the names journal and the layer objects, after
/// `contents` was rebuilt from its segments. Images come back under their numbers, so that node ids of living mounts
/// stay right. Run it before Catalog::open. An image whose layer object cannot be read is listed as lost and loses its
/// name, and so is every clone and snapshot: what they changed was in the database only. Their names are free then; an
/// emptied clone under the old name could be taken for the old one. A rebuild that was stopped half way can be run
/// again.
///
/// Errors: exists (the database has its names), version, io.
Result<RebuildReport> rebuild_names(cas::Database& database, cas::ContentStore& contents, Io& io,
                                    const std::filesystem::path& journal, const std::filesystem::path& scratch);

}  // namespace stellarium::fs
