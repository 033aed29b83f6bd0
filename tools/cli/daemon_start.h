#pragma once
#include <filesystem>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::cli {

/// Whether a command that finds no daemon, or no store, makes one.
enum class Start : std::uint8_t {
  never,         ///< errors: not_found
  if_store,      ///< starts the daemon of a store that exists
  create_store,  ///< makes the store too
};

/// A connection to the daemon of `store`, which is started if there is none. Two commands at once start one.
/// Errors: what the daemon said about why it cannot start; not_found; permission.
Result<UniqueFd> reach_daemon(const std::filesystem::path& store, Start start);

/// Waits until the keeper and the server of `store` are gone, at most `seconds`; false if one still runs.
bool wait_until_stopped(const std::filesystem::path& store, double seconds);

}  // namespace stellarium::cli
