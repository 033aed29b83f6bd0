#include "tools/cli/stopped_processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace stellarium::cli {
namespace {

constexpr auto kPatience = std::chrono::seconds{10};
constexpr int kRounds = 1000;  // of looking for processes that started meanwhile

std::optional<pid_t> to_pid(const std::string& name) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  return error == std::errc{} && end == name.data() + name.size() ? std::optional{pid} : std::nullopt;
}

std::vector<pid_t> numbers_in(const std::filesystem::path& dir) {
  std::vector<pid_t> found;
  std::error_code gone;
  for (auto entry = std::filesystem::directory_iterator{dir, gone};
       !gone && entry != std::filesystem::directory_iterator{}; entry.increment(gone))
    if (const auto pid = to_pid(entry->path().filename().string())) found.push_back(*pid);
  return found;
}

/// State and parent, behind the name, which may hold anything.
std::optional<std::pair<char, pid_t>> state_of(const std::filesystem::path& process) {
  std::ifstream in{process / "stat"};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  const std::size_t behind = text.rfind(')');
  if (behind == std::string::npos || behind + 4 >= text.size()) return std::nullopt;
  pid_t parent = 0;
  std::from_chars(text.data() + behind + 4, text.data() + text.size(), parent);
  return std::pair{text[behind + 2], parent};
}

bool stands_still(char state) {
  return state == 'T' || state == 't' || state == 'Z' || state == 'X';
}

bool all_threads_stand_still(pid_t pid) {
  const std::filesystem::path tasks = std::filesystem::path{"/proc"} / std::to_string(pid) / "task";
  for (const pid_t thread : numbers_in(tasks)) {
    const auto state = state_of(tasks / std::to_string(thread));
    if (state && !stands_still(state->first)) return false;
  }
  return true;
}

bool is_in(pid_t pid, dev_t mount) {
  const std::string process = "/proc/" + std::to_string(pid);
  for (const char* link : {"/root", "/cwd"}) {
    struct stat st {};
    if (::stat((process + link).c_str(), &st) == 0 && st.st_dev == mount) return true;
  }
  return false;
}

/// This process and those that started it: who waits for the command must not look as if the user had stopped it.
std::set<pid_t> own_line() {
  std::set<pid_t> line;
  for (pid_t pid = ::getpid(); pid > 0 && line.insert(pid).second;) {
    const auto state = state_of("/proc/" + std::to_string(pid));
    pid = state ? state->second : 0;
  }
  return line;
}

/// The child: learns who is stopped, and continues them when the command has ended, however it did.
[[noreturn]] void watch(int from) {
  ::setsid();  // an interrupt from the terminal is not for it
  // Whoever goes on may unmount the clone at once, or wait for the end of the command's output.
  ::dup2(from, STDIN_FILENO);
  ::close_range(STDIN_FILENO + 1, ~0U, 0);
  (void)!::chdir("/");
  std::vector<pid_t> stopped;
  for (pid_t pid = 0;;) {
    const ssize_t got = ::read(STDIN_FILENO, &pid, sizeof pid);
    if (got < 0 && errno == EINTR) continue;
    if (got != sizeof pid) break;
    stopped.push_back(pid);
  }
  for (const pid_t pid : stopped) ::kill(pid, SIGCONT);
  ::_exit(0);
}

}  // namespace

StoppedProcesses::StoppedProcesses(StoppedProcesses&& other) noexcept
    : stopped_{std::move(other.stopped_)},
      watch_{std::exchange(other.watch_, -1)},
      watcher_{std::exchange(other.watcher_, -1)} {
  other.stopped_.clear();
}

StoppedProcesses::~StoppedProcesses() {
  for (const pid_t pid : stopped_) ::kill(pid, SIGCONT);
  if (watch_ < 0) return;
  ::close(watch_);
  while (::waitpid(watcher_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<void> StoppedProcesses::begin_watch() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  watcher_ = ::fork();
  if (watcher_ == 0) {
    ::close(ends[1]);
    watch(ends[0]);
  }
  ::close(ends[0]);
  watch_ = ends[1];
  return watcher_ < 0 ? fail_errno("fork") : Result<void>{};
}

/// Before the process is stopped: a SIGCONT too many does no harm.
void StoppedProcesses::tell_watch(pid_t pid) const {
  (void)!::write(watch_, &pid, sizeof pid);
}

Result<bool> StoppedProcesses::stop_more(dev_t mount) {
  const std::set<pid_t> own = own_line();
  bool more = false;
  for (const pid_t pid : numbers_in("/proc")) {
    if (own.contains(pid) || pid == watcher_ || stopped_.contains(pid) || !is_in(pid, mount)) continue;
    const auto state = state_of("/proc/" + std::to_string(pid));
    if (!state || stands_still(state->first)) continue;
    tell_watch(pid);
    if (::kill(pid, SIGSTOP) != 0) {
      if (errno == ESRCH) continue;
      return fail_errno("stopping process " + std::to_string(pid));
    }
    stopped_.insert(pid);
    more = true;
  }
  return more;
}

Result<void> StoppedProcesses::wait_for_all() const {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  for (const pid_t pid : stopped_) {
    while (!all_threads_stand_still(pid)) {
      if (std::chrono::steady_clock::now() > until)
        return fail(Errc::busy, "process " + std::to_string(pid) + " does not stop");
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  }
  return {};
}

Result<StoppedProcesses> StoppedProcesses::stop(dev_t mount) {
  StoppedProcesses stopping;
  if (auto watching = stopping.begin_watch(); !watching) return fail(watching.error());
  for (int round = 0; round < kRounds; ++round) {
    const auto more = stopping.stop_more(mount);
    if (!more) return fail(more.error());
    if (auto stood = stopping.wait_for_all(); !stood) return fail(stood.error());
    // A child that was made in the moment before its parent stood still is found in the next round.
    if (!*more) return stopping;
  }
  return fail(Errc::busy, "new processes start all the time");
}

}  // namespace stellarium::cli
