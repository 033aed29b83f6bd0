#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/cli/interrupts.h"

namespace stellarium::cli {

/// Runs systemd-nspawn, as `words`, with our standard streams until it ends; its exit code, or 128 + the signal that
/// ended it. Interrupts are its, not ours: the first one shuts the container down, as soon as its init (`boots`) can be
/// asked to; the next one ends it at once. If this process is killed, the container is shut down.
Result<int> run_container(const std::vector<std::string>& words, bool boots, const Interrupts& interrupts);

}  // namespace stellarium::cli
