#pragma once
#include <sys/types.h>

#include <string_view>

namespace stellarium::cli {

/// Whether /proc/PID/status is that of a container's first process, and one that takes the signal by which
/// systemd-nspawn asks for a shutdown (SIGRTMIN+3). Before its init has set that up, the kernel drops the signal.
bool heeds_halt(std::string_view status);

/// The same of the container that this systemd-nspawn runs; false if there is none yet.
bool init_heeds_halt(pid_t nspawn);

}  // namespace stellarium::cli
