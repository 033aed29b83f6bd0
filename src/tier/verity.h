#pragma once
#include "base/result.h"

namespace stellarium::tier {

/// Asks the file system to check every later read of the file from disk against a Merkle tree (fs-verity, Linux 5.4).
/// The descriptor is read-only and no writable one exists. Cost: the file is read once and written out.
/// Errors: not_supported where the file system or the kernel has none; then scrub is what finds a changed bit.
Result<void> enable_verity(int fd);

/// Whether enable_verity works in `folder`, tried on an unnamed file.
bool has_verity(int folder);

}  // namespace stellarium::tier
