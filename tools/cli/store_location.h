#pragma once
#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace stellarium::cli {

/// `given` (--store), else $STELLARIUM_STORE, else /var/lib/stellarium for root and $XDG_DATA_HOME/stellarium for
/// others; absolute.
std::filesystem::path store_folder(const std::string& given);

/// Where the stat cache of the store with this uuid is kept: below $XDG_CACHE_HOME, else ~/.cache.
std::filesystem::path stat_cache_file(const std::string& store_uuid);

/// What is at a store's path.
enum class StoreState : std::uint8_t {
  absent,   ///< nothing, or an empty folder: a store can be made
  present,  ///< a folder with a format file
};
/// Errors: invalid_argument (something that is neither a store nor empty), permission.
Result<StoreState> examine_store(const std::filesystem::path& store);

}  // namespace stellarium::cli
