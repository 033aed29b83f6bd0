#pragma once
#include <filesystem>

#include "base/result.h"

namespace stellarium::server::sandbox {

/// A network with nothing in it, not even an address of its own. Sockets that exist, and unix sockets, go on.
Result<void> enter_empty_network();

/// Mounts of its own in which only the store (an absolute path, without symlinks) and `kPlaces` exist. What is mounted
/// or unmounted inside of the store on the host is so here, too; nothing else of the host is kept mounted by it. Paths
/// of the store stay as they are. Descriptors that are open keep their meaning. `own_processes`: /proc shows those of
/// this process's pid namespace; else what it showed before. Errors: permission, io; this process is then where it was.
/// One thread only.
Result<void> enter_own_mounts(const std::filesystem::path& store, bool own_processes);

}  // namespace stellarium::server::sandbox
