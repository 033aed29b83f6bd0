#pragma once
#include <filesystem>
#include <string>

#include "tools/cli/command_line.h"
#include "tools/server/command_io.h"
#include "tools/server/server_control.h"

// A store whose database cannot be opened: what can be said and done about it. Everything in the database can be
// computed anew from the segments, the layer objects and the names journal (docs/reliability.md).
namespace stellarium::server {

/// What fsck exits with, as fsck(8): 0 sound, 1 repaired, 4 damage left, 8 could not check.
inline constexpr int kSound = 0, kRepaired = 1, kDamaged = 4, kCouldNotCheck = 8;

struct BrokenStore {
  const std::filesystem::path& dir;
  const std::string& uuid;
  const Error& why;
};

/// Whether `fsck --repair` may help against what Store::open said.
bool is_repairable(const Error& error);

/// fsck --repair rebuilds the database and restarts the server; the daemon command works; everything else is refused,
/// saying why.
int run_broken(const cli::Invocation& invocation, const BrokenStore& store, ServerControl& control, CommandIo& io);

}  // namespace stellarium::server
