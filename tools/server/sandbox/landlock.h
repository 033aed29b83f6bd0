#pragma once
#include <filesystem>

#include "base/result.h"

namespace stellarium::server::sandbox {

/// From now on this thread, and those it will start, open, make, rename and remove files below `store` only, and read
/// `kPlaces`; where the kernel knows how, they can use no TCP port, and reach no abstract unix socket and no process of
/// others. Descriptors that are open go on. Returns the version of the kernel's interface. Needs no privilege, but
/// no_new_privs.
///
/// Running programs is not forbidden here (seccomp does that): the kernel opens the file behind a passed-through one in
/// our name, and asks for this right when somebody else runs it.
/// Errors: not_supported (no Landlock, or only its first version, which cannot rename between folders), io.
Result<int> restrict_files(const std::filesystem::path& store);

}  // namespace stellarium::server::sandbox
