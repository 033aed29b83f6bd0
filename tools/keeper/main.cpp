// stellarium-keeper: see keeper.h. Started by the first command that finds no daemon; not meant to be called by hand.
#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "tools/keeper/keeper.h"

namespace {

/// Descriptor or table numbers on the command line: small, or nothing.
std::optional<int> number(const std::map<std::string, std::string>& options, const std::string& name) {
  const auto found = options.find(name);
  if (found == options.end()) return std::nullopt;
  const std::string& text = found->second;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && value >= 3 ? std::optional{value} : std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace stellarium;
  if (argc == 2 && std::string_view{argv[1]} == keeper::PidNamespace::kFirstProcess) return keeper::run_first_process();
  std::map<std::string, std::string> options;
  for (int i = 1; i + 1 < argc; i += 2) options.insert_or_assign(argv[i], argv[i + 1]);
  if (argc % 2 == 0 || !options.contains("--store")) {
    std::fputs("stellarium-keeper: started by the stellarium command; run 'stellarium daemon start' instead\n", stderr);
    return 2;
  }

  keeper::Keeper::Setup setup;
  setup.store = options["--store"];
  setup.inherited = number(options, "--inherit");
  if (options.contains("--oom-score-adj")) setup.oom_score_adj = options["--oom-score-adj"];
  if (const auto starter = number(options, "--starter")) {
    setup.starter = UniqueFd{*starter};
    ::fcntl(*starter, F_SETFD, FD_CLOEXEC);
  }
  std::error_code failed;
  setup.programs = std::filesystem::read_symlink("/proc/self/exe", failed).parent_path();
  const int tell = setup.starter ? ::fcntl(setup.starter.get(), F_DUPFD_CLOEXEC, 3) : -1;
  auto keeper = keeper::Keeper::create(std::move(setup));
  if (!keeper) {
    ::dprintf(tell >= 0 ? tell : STDERR_FILENO, "-%s", to_string(keeper.error()).c_str());
    return 1;
  }
  if (tell >= 0) ::close(tell);
  return keeper->run();
}
