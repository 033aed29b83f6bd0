#pragma once
#include "cdn/completion.h"
#include "tools/cli/options.h"
#include "tools/server/command_io.h"
#include "tools/server/guests.h"
#include "tools/server/janitor.h"
#include "tools/server/mounts.h"
#include "tools/server/outside.h"
#include "tools/server/sandbox/sandbox.h"
#include "tools/server/server_control.h"
#include "tools/server/store.h"

namespace stellarium::server {

/// Everything a command function can reach.
struct CommandContext {
  Store& store;
  Mounts& mounts;
  Guests& guests;
  Janitor& janitor;
  cdn::Completion& completion;
  ServerControl& control;
  const Outside& outside;
  const sandbox::Sandbox& sandbox;
  const cli::GlobalOptions& global;
  CommandIo& io;
};

}  // namespace stellarium::server
