#pragma once
#include <string>

#include "base/result.h"

namespace stellarium::server::sandbox {

/// Leaves this thread, and those it will start, with the few capabilities that the server needs (docs/sandbox.md says
/// what for), as far as it has them; the bounding, inheritable and ambient sets become empty, and no program that is
/// run can bring anything back. Returns what is left, in words. An ordinary user has nothing to give up. Errors: io.
Result<std::string> give_up_capabilities();

}  // namespace stellarium::server::sandbox
