#include "tools/cli/machine_words.h"

#include <algorithm>

#include "tools/text/units.h"

namespace stellarium::cli {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kLeastMemory = 32 * kMiB;  // a kernel needs that much to say why it does not start

void add_accelerators(std::vector<std::string>& words, std::string_view accelerators) {
  while (!accelerators.empty()) {
    const std::string_view first = accelerators.substr(0, accelerators.find(':'));
    words.insert(words.end(), {"-accel", std::string{first}});
    accelerators.remove_prefix(std::min(accelerators.size(), first.size() + 1));
  }
}

/// "user,hostfwd=…" is what stands behind -netdev, without its id.
void add_network(std::vector<std::string>& words, const std::string& network) {
  if (network == "none") return;
  const std::size_t kind = std::min(network.find(','), network.size());
  words.insert(words.end(), {"-netdev", network.substr(0, kind) + ",id=net" + network.substr(kind), "-device",
                             "virtio-net-pci,netdev=net,romfile="});  // it boots from its root, not from the network
}

}  // namespace

std::string listed(std::string_view value) {
  std::string out;
  for (const char c : value) out.append(c == ',' ? 2 : 1, c);
  return out;
}

Result<std::uint64_t> machine_memory(const std::string& size) {
  const auto bytes = text::parse_bytes(size);
  if (!bytes || *bytes < kLeastMemory || *bytes % kMiB != 0)
    return fail(Errc::invalid_argument,
                "--memory " + size + ": a machine has at least 32M, in whole M or G (as 512M or 2G)");
  return *bytes;
}

std::string usual_accelerators(std::string_view cpu_info) {
  const auto has = [cpu_info](std::string_view flag) { return cpu_info.find(flag) != std::string_view::npos; };
  return has(" vmx ") || has(" svm ") ? "kvm:tcg" : "tcg";
}

std::string kernel_words(const VmOptions& options) {
  std::string words = "console=ttyS0 root=" + std::string{kMachineTag} + " rootfstype=virtiofs rw";
  if (!options.append.empty()) words += " " + options.append;
  return words;
}

std::vector<std::string> machine_words(const VmOptions& options, const MachineParts& parts) {
  const std::string memory = std::to_string(parts.memory / kMiB) + "M";
  std::vector<std::string> words{options.qemu, "-name", listed(parts.name), "-machine", "q35,memory-backend=memory"};
  add_accelerators(words, parts.accelerators);
  words.insert(words.end(),
               {"-cpu",        "max",
                "-smp",        std::to_string(options.cpus),
                "-m",          memory,
                "-object",     "memory-backend-memfd,id=memory,size=" + memory + ",share=on",
                "-nodefaults", "-no-user-config",
                "-display",    "none",
                "-serial",     "mon:stdio",
                "-chardev",    "socket,id=root," + parts.socket,
                "-device",     "vhost-user-fs-pci,chardev=root,tag=" + std::string{kMachineTag} + ",queue-size=1024",
                "-device",     "virtio-rng-pci"});
  add_network(words, options.net);
  words.insert(words.end(), {"-kernel", parts.kernel});
  if (!parts.initrd.empty()) words.insert(words.end(), {"-initrd", parts.initrd});
  words.insert(words.end(), {"-append", kernel_words(options)});
  words.insert(words.end(), options.qemu_words.begin(), options.qemu_words.end());
  return words;
}

}  // namespace stellarium::cli
