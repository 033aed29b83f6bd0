#include "tools/keeper/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <iterator>

namespace stellarium::keeper {
namespace {

constexpr const char* kOomScore = "/proc/self/oom_score_adj";

std::string first_line(const std::filesystem::path& file) {
  std::ifstream in{file};
  std::string line;
  std::getline(in, line);
  return line;
}

void write_text(const char* file, std::string_view text) {
  const UniqueFd fd{::open(file, O_WRONLY | O_CLOEXEC)};
  if (fd) [[maybe_unused]]
    const auto written = ::write(fd.get(), text.data(), text.size());  // a wish, not a need
}

/// The state letter of /proc/…/stat: it follows the name, which is in parentheses and may hold anything.
char state_in(const std::string& stat_line) {
  const std::size_t name_end = stat_line.rfind(") ");
  return name_end == std::string::npos || name_end + 2 >= stat_line.size() ? '?' : stat_line[name_end + 2];
}

[[noreturn]] void become(const char* program, char* const* argv, int link, int log, const std::string& oom_score_adj,
                         int outside) {
  write_text(kOomScore, oom_score_adj);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = ::open("/dev/null", O_RDWR);
  // They may themselves be 0 … 4: lift them out of the way first
  const int high_link = ::fcntl(link, F_DUPFD_CLOEXEC, 10);
  const int high_log = ::fcntl(log, F_DUPFD_CLOEXEC, 10);
  const int high_outside = outside < 0 ? -1 : ::fcntl(outside, F_DUPFD_CLOEXEC, 10);
  ::dup2(null, STDIN_FILENO);
  ::dup2(high_log, STDOUT_FILENO);
  ::dup2(high_log, STDERR_FILENO);
  ::dup2(high_link, kLinkDescriptor);
  if (high_outside >= 0) {
    ::dup2(high_outside, kOutsideDescriptor);
  } else {
    ::close(kOutsideDescriptor);  // whatever it is
  }
  ::execv(program, argv);
  ::dprintf(STDERR_FILENO, "keeper: cannot run %s: %s\n", program, std::strerror(errno));
  ::_exit(127);
}

}  // namespace

Result<pid_t> start_process(const std::filesystem::path& program, const std::vector<std::string>& arguments, int link,
                            int log, const std::string& oom_score_adj, int outside) {
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("fork");
  if (child == 0) become(program.c_str(), argv.data(), link, log, oom_score_adj, outside);
  return child;
}

std::string describe_exit(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    return "killed by signal " + std::to_string(signal) + " (" + ::strsignal(signal) + ")";
  }
  return "exit code " + std::to_string(WEXITSTATUS(wait_status));
}

std::string describe_stuck(pid_t pid) {
  const std::filesystem::path process = "/proc/" + std::to_string(pid);
  if (state_in(first_line(process / "stat")) != 'Z') return {};
  std::string out;
  std::error_code ignored;  // the process may vanish while it is looked at
  for (const auto& thread : std::filesystem::directory_iterator{process / "task", ignored}) {
    if (state_in(first_line(thread.path() / "stat")) != 'D') continue;
    if (!out.empty()) out += ", ";
    out += "thread " + thread.path().filename().string() + " (" + first_line(thread.path() / "comm") + ") in " +
           first_line(thread.path() / "wchan");
  }
  return out;
}

std::string protect_this_process() {
  const std::string before = first_line(kOomScore);
  write_text(kOomScore, "-1000");
  // Without privilege the limit on locked memory would make later allocations fail: lock only what is there.
  if (::mlockall(MCL_CURRENT | (::geteuid() == 0 ? MCL_FUTURE : 0)) != 0) return before;
  return before;
}

}  // namespace stellarium::keeper
