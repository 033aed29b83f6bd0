#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "cas/hash.h"

namespace stellarium::cdn {

/// What is kept of an image while not all of its contents are here (docs/formats/records.md, family lazy). Layer object
/// and index, which its manifest names, are contents of the store.
struct LazyRecord {
  std::string remote;     ///< by the name that the user's files have for it; 1 … 255 bytes
  std::string manifest;   ///< its text
  bool completes = true;  ///< what nobody reads is fetched in the background, too
};
std::string encode_lazy(const LazyRecord& record);
/// Errors: corrupt.
[[nodiscard]] Result<LazyRecord> decode_lazy(std::string_view value);

/// All of them, by the id of their layer objects.
[[nodiscard]] Result<std::vector<std::pair<cas::ContentId, LazyRecord>>> read_lazy(const cas::Database& database);

}  // namespace stellarium::cdn
