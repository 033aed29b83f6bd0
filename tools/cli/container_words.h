#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tools/cli/options.h"

// What systemd-nspawn is told, apart from doing it.
namespace stellarium::cli {

/// What the machine that runs the container has.
struct ContainerHost {
  bool has_machined = false;   ///< systemd as its init, and a bus on which containers are registered with it
  std::string kernel_release;  ///< uname(2)'s
};
ContainerHost this_host();

/// What systemd takes for a machine: letters, digits and '-' in parts with dots between them, 1 to 64 bytes.
bool is_machine_name(std::string_view name);

/// The machine name of a container on a clone: its name, with what a machine name cannot have replaced or left out.
std::string machine_name_of(std::string_view clone);

/// Whether the host can do what the options want.
/// Errors: invalid_argument, not_supported.
Result<void> check_container(const NspawnOptions& options, const ContainerHost& host);

/// The command line of systemd-nspawn for a container whose root is mounted on `root`.
std::vector<std::string> container_words(const NspawnOptions& options, const std::string& root,
                                         const std::string& machine, const ContainerHost& host);

}  // namespace stellarium::cli
