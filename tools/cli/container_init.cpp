#include "tools/cli/container_init.h"

#include <signal.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace stellarium::cli {
namespace {

std::string contents(const std::string& path) {
  std::ifstream in{path};
  return {std::istreambuf_iterator<char>{in}, {}};
}

}  // namespace

bool heeds_halt(std::string_view status) {
  const std::uint64_t halt = std::uint64_t{1} << (SIGRTMIN + 3 - 1);
  std::istringstream lines{std::string{status}};
  bool is_first = false;
  std::uint64_t heeded = 0;
  for (std::string line; std::getline(lines, line);) {
    // One number for each namespace; the host's comes first.
    if (line.starts_with("NSpid:")) is_first = line.ends_with("\t1") && line.find('\t') != line.rfind('\t');
    if (line.starts_with("SigBlk:") || line.starts_with("SigCgt:"))  // systemd blocks it and reads it when it can
      heeded |= std::strtoull(line.c_str() + 7, nullptr, 16);
  }
  return is_first && (heeded & halt) != 0;
}

bool init_heeds_halt(pid_t nspawn) {
  const std::string process = std::to_string(nspawn);
  std::istringstream children{contents("/proc/" + process + "/task/" + process + "/children")};
  for (std::string child; children >> child;)
    if (heeds_halt(contents("/proc/" + child + "/status"))) return true;
  return false;
}

}  // namespace stellarium::cli
