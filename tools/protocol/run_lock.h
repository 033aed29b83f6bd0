#pragma once
#include <filesystem>

#include "base/result.h"
#include "base/unique_fd.h"

// The locks in STORE/run that tell whether a keeper or a server is there. They belong to an open file (F_OFD_SETLK):
// they end with the last descriptor, survive execve, and, unlike flock(2), can be asked about without being taken for a
// moment.
namespace stellarium::protocol {

inline constexpr const char* kKeeperLock = "keeper.lock";
inline constexpr const char* kServerLock = "server.lock";

/// Holds the lock for as long as the descriptor lives. Errors: busy (somebody has it), io.
Result<UniqueFd> take_lock(const std::filesystem::path& file);

/// Whether somebody has it; false if there is no such file.
bool is_locked(const std::filesystem::path& file);

}  // namespace stellarium::protocol
