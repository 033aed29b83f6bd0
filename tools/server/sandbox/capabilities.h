#pragma once
#include <string>

#include "base/result.h"

namespace stellarium::server::sandbox {

/// Leaves this thread, and those it will start, with the few capabilities that the server needs (docs/sandbox.md says
/// what for), as far as it has them; the bounding, inheritable and ambient sets become empty, and no program that is run
/// can bring anything back. Returns what is left, in words. An ordinary user has nothing to give up.
/// Errors: io.
Result<std::string> give_up_capabilities();

/// For a thread that serves guests: it can neither make backing ids nor set quotas, and needs only to write as nobody.
/// The others of the process keep what they have.
Result<void> give_up_administration();

}  // namespace stellarium::server::sandbox
