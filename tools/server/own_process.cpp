#include "tools/server/own_process.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace stellarium::server {

OwnProcess own_process() {
  OwnProcess found{::getpid(), ::getppid()};
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Pid:")) found.pid = std::atoi(line.c_str() + 4);
    if (line.starts_with("PPid:")) {
      found.parent = std::atoi(line.c_str() + 5);
      break;  // it comes after the other
    }
  }
  return found;
}

}  // namespace stellarium::server
