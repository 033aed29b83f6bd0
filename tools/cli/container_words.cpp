#include "tools/cli/container_words.h"

#include <unistd.h>

#include <algorithm>

#include "tools/cli/kernel_features.h"

namespace stellarium::cli {
namespace {

constexpr std::size_t kMaxMachineName = 64;  // a host name's
constexpr std::string_view kNobodysMachine = "clone";

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

ContainerHost this_host() {
  const bool has_machined =
      ::access("/run/systemd/system", F_OK) == 0 && ::access("/run/dbus/system_bus_socket", F_OK) == 0;
  return {.has_machined = has_machined, .kernel_release = kernel_release()};
}

bool is_machine_name(std::string_view name) {
  if (name.size() > kMaxMachineName) return false;
  char before = '.';
  for (const char c : name) {
    if (c == '.' ? !is_letter_or_digit(before) : c == '-' ? before == '.' : !is_letter_or_digit(c)) return false;
    before = c;
  }
  return is_letter_or_digit(before);
}

std::string machine_name_of(std::string_view clone) {
  std::string name;
  const auto drop_marks = [&name] {
    while (!name.empty() && !is_letter_or_digit(name.back())) name.pop_back();
  };
  for (const char c : clone) {
    const bool begins = name.empty() || name.back() == '.';
    if (is_letter_or_digit(c)) {
      name += c;
    } else if (c != '.') {
      if (!begins) name += '-';
    } else if (!begins) {
      drop_marks();
      name += '.';
    }
  }
  name.resize(std::min(name.size(), kMaxMachineName));
  drop_marks();
  return name.empty() ? std::string{kNobodysMachine} : name;
}

Result<void> check_container(const NspawnOptions& options, const ContainerHost& host) {
  if (!options.machine.empty() && !is_machine_name(options.machine))
    return fail(Errc::invalid_argument, "'" + options.machine +
                                            "' cannot be a machine's name: 1 to 64 letters, digits, '-' and '.', where "
                                            "'-' and '.' stand between letters or digits");
  if (options.private_users && !features_of_release(host.kernel_release).idmapped_mounts)
    return fail(Errc::not_supported, "this kernel (" + host.kernel_release +
                                         ") cannot show a FUSE mount with shifted owners, which --private-users needs: "
                                         "leave it out, or use Linux 6.12 or later");
  return {};
}

std::vector<std::string> container_words(const NspawnOptions& options, const std::string& root,
                                         const std::string& machine, const ContainerHost& host) {
  std::vector<std::string> words{"systemd-nspawn", "--quiet", "--directory=" + root, "--machine=" + machine};
  if (!host.has_machined) words.emplace_back("--register=no");
  if (!host.has_machined || options.keep_unit) words.emplace_back("--keep-unit");
  // Without the second word it would rather chown every file than fail.
  if (options.private_users) words.insert(words.end(), {"--private-users=pick", "--private-users-ownership=map"});
  if (options.boot) words.emplace_back("--boot");
  if (!options.command.empty()) words.emplace_back("--");
  words.insert(words.end(), options.command.begin(), options.command.end());
  return words;
}

}  // namespace stellarium::cli
