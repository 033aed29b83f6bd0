#pragma once
#include <sys/types.h>

namespace stellarium::server {

/// This process and its parent, the keeper, as the host calls them: inside of a pid namespace getpid(2) says something
/// else, but /proc is the host's.
struct OwnProcess {
  pid_t pid = 0, parent = 0;
};
/// Where /proc cannot be read, what getpid(2) says. Cost: one file of /proc.
OwnProcess own_process();

}  // namespace stellarium::server
