#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tools/cli/options.h"

// What QEMU is told, apart from doing it.
namespace stellarium::cli {

constexpr std::string_view kMachineTag = "root";  ///< under which the guest finds its root

/// What a machine is made of, besides what its user wants.
struct MachineParts {
  std::string name;               ///< the clone's
  std::string socket;             ///< of its root's device, as QEMU takes it: fd=N or path=PATH
  std::string kernel, initrd;     ///< files; no initrd: empty
  std::uint64_t memory = 0;       ///< bytes
  std::string accelerators = {};  ///< kvm, tcg or several, by ':'
};

/// The guest's memory. Errors: invalid_argument (no size, under 32 MiB, not whole MiB).
Result<std::uint64_t> machine_memory(const std::string& size);

/// What QEMU should try where the user does not say. `cpu_info`: /proc/cpuinfo. Not every /dev/kvm can run any guest:
/// one without the CPU's help (PVM) cannot, and QEMU notices too late to do something else.
std::string usual_accelerators(std::string_view cpu_info);

/// A value as QEMU takes it in a list, where a comma is written twice.
std::string listed(std::string_view value);

/// The kernel's command line.
std::string kernel_words(const VmOptions& options);

/// QEMU's command line.
std::vector<std::string> machine_words(const VmOptions& options, const MachineParts& parts);

}  // namespace stellarium::cli
