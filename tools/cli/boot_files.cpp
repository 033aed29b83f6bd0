#include "tools/cli/boot_files.h"

#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <sstream>
#include <vector>

#include "base/io.h"
#include "tools/cli/clone_for_run.h"

namespace stellarium::cli {
namespace {

constexpr std::string_view kKernel = "vmlinuz-", kInitrd = "initrd.img-";

}  // namespace

std::optional<BootFiles> newest_kernel(const std::string& folder, std::string_view listing) {
  std::vector<std::string> names;
  std::istringstream lines{std::string{listing}};
  for (std::string line; std::getline(lines, line);) names.push_back(line);
  std::string newest;
  for (const std::string& name : names)
    if (name.starts_with(kKernel) && ::strverscmp(name.c_str(), newest.c_str()) > 0) newest = name;
  if (newest.empty()) return std::nullopt;
  const std::string initrd = std::string{kInitrd} + newest.substr(kKernel.size());
  const bool has_initrd = std::ranges::find(names, initrd) != names.end();
  return BootFiles{folder + "/" + newest, has_initrd ? folder + "/" + initrd : ""};
}

Result<BootFiles> kernel_of_image(const Invocation& invocation, const std::filesystem::path& store,
                                  const std::string& ref) {
  std::string top, names;
  Handlers handlers;
  handlers.capture_output = &top;
  if (run_words(invocation, store, {"ls", "--", ref, "/"}, handlers) != 0)
    return fail(Errc::unavailable, {});  // why was told
  handlers.capture_output = &names;
  handlers.hide_complaints = [] { return true; };  // whatever /boot is: no kernel is in it
  if (("\n" + top).find("\nboot\n") != std::string::npos)
    run_words(invocation, store, {"ls", "--", ref, "/boot"}, handlers);
  if (auto found = newest_kernel("/boot", names)) return *found;
  return fail(Errc::not_found, ref + " has no kernel (/boot/vmlinuz-VERSION): name one with --kernel FILE");
}

std::optional<UniqueFd> take_out(const Invocation& invocation, const std::filesystem::path& store,
                                 const std::string& ref, const std::string& path) {
  std::string bytes;
  Handlers handlers;
  handlers.capture_output = &bytes;
  if (run_words(invocation, store, {"cat", "--", ref, path}, handlers) != 0) return std::nullopt;
  UniqueFd file{::memfd_create(path.c_str(), MFD_CLOEXEC)};
  Result<void> written = file ? system_io().write_at(file.get(), as_bytes(bytes), 0) : fail_errno("memory for " + path);
  if (written) return file;
  complain(written.error());
  return std::nullopt;
}

}  // namespace stellarium::cli
