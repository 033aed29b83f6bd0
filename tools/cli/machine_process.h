#pragma once
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/cli/interrupts.h"

namespace stellarium::cli {

/// How QEMU ended.
struct MachineEnd {
  int code = 0;            ///< its own exit code
  int signal = 0;          ///< the request that ended it; 0: none
  bool lost_root = false;  ///< it was ended because nobody served its root any more
};

/// Runs QEMU in the foreground, with `descriptors` of ours, until it ends. A request to end (`interrupts`) ends it, a
/// second one kills it. `server` becomes readable when its root is not served any more: then it is ended, too, unless
/// it is about to end anyway. The terminal is as it was afterwards. Errors: not_found, permission, io.
Result<MachineEnd> run_machine(const std::vector<std::string>& words, std::span<const int> descriptors,
                               const Interrupts& interrupts, int server);

}  // namespace stellarium::cli
