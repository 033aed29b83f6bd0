#include "tools/cli/continuation.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace stellarium::cli {
namespace {

// "LISTENING" or "LISTENING,KEPT": numbers of descriptors. Not an option, since words may end with "--" and a name.
constexpr const char* kVariable = "STELLARIUM_CONTINUES";

/// Where this program was started from; what lies there may be another one by now.
Result<std::string> program_path() {
  std::string path(4096, '\0');
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length < 0) return fail_errno("reading /proc/self/exe");
  path.resize(static_cast<std::size_t>(length));
  constexpr std::string_view kReplaced = " (deleted)";
  if (path.ends_with(kReplaced)) path.resize(path.size() - kReplaced.size());
  return path;
}

UniqueFd descriptor_of(const std::string& number) {
  char* end = nullptr;
  const long fd = std::strtol(number.c_str(), &end, 10);
  if (number.empty() || *end != '\0' || fd < 3 || fd > 1 << 20) return {};
  if (::fcntl(static_cast<int>(fd), F_SETFD, FD_CLOEXEC) != 0) return {};
  return UniqueFd{static_cast<int>(fd)};
}

void set_inherited(const UniqueFd& descriptor, bool inherited) {
  if (descriptor) ::fcntl(descriptor.get(), F_SETFD, inherited ? 0 : FD_CLOEXEC);
}

}  // namespace

std::optional<Continuation> take_continuation() {
  const char* value = std::getenv(kVariable);
  if (value == nullptr) return std::nullopt;
  const std::string left = value;
  ::unsetenv(kVariable);
  const std::size_t comma = left.find(',');
  Continuation taken{descriptor_of(left.substr(0, comma)), {}};
  if (comma != std::string::npos) taken.kept = descriptor_of(left.substr(comma + 1));
  if (!taken.listening) return std::nullopt;
  return taken;
}

Error continue_as_present_program(const Continuation& left) {
  const auto path = program_path();
  if (!path) return path.error();
  std::ifstream file{"/proc/self/cmdline", std::ios::binary};
  std::string line{std::istreambuf_iterator<char>{file}, {}};
  line.push_back('\0');  // there is one already, unless somebody wrote over it
  std::vector<char*> words;
  for (std::size_t at = 0; at + 1 < line.size(); at = line.find('\0', at) + 1) words.push_back(line.data() + at);
  words.push_back(nullptr);

  std::string numbers = std::to_string(left.listening.get());
  if (left.kept) numbers += "," + std::to_string(left.kept.get());
  ::setenv(kVariable, numbers.c_str(), 1);
  set_inherited(left.listening, true);
  set_inherited(left.kept, true);
  ::execv(path->c_str(), words.data());
  const int failed = errno;
  set_inherited(left.listening, false);
  set_inherited(left.kept, false);
  ::unsetenv(kVariable);
  return Error{errc_from_errno(failed), "starting " + *path + " anew", failed};
}

}  // namespace stellarium::cli
