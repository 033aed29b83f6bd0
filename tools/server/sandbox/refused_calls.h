#pragma once
#include "base/result.h"

namespace stellarium::server::sandbox {

/// Handles SIGSYS, by which the kernel tells of a system call that the filter does not let through: one line on stderr
/// with the call's name, for each call once, and the caller gets EPERM. What this program's libraries have never heard
/// of is ENOSYS instead: newer ones try such calls, and know what else to do.
Result<void> report_refused_calls();

}  // namespace stellarium::server::sandbox
