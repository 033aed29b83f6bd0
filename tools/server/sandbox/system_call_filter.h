#pragma once
#include "base/result.h"

namespace stellarium::server::sandbox {

/// Lets all threads of this process make only the system calls that the server needs (system_calls.h). Of the others,
/// the deadly ones end the process at once, and all else fails with EPERM and a line in the log. Needs no privilege,
/// but no_new_privs. It cannot be undone.
/// Errors: not_supported (a kernel without seccomp), io.
Result<void> filter_system_calls();

}  // namespace stellarium::server::sandbox
