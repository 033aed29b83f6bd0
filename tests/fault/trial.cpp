#include "fault/trial.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

namespace stellarium::test {
namespace {

std::string text_of(const std::filesystem::path& file) {
  std::ifstream stream{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{stream}, {}};
}

}  // namespace

Trial::Trial(std::filesystem::path folder, const std::function<std::string()>& body) : folder_{std::move(folder)} {
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ > 0) return;
  const int log = ::open((folder_ / "log").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  try {
    std::ofstream{folder_ / "result"} << body();
  } catch (const std::exception& error) {
    std::ofstream{folder_ / "result"} << "exception: " << error.what();
  }
  ::_exit(0);
}

void Trial::wait_for(const std::filesystem::path& mark) const {
  siginfo_t ended{};
  while (!std::filesystem::exists(mark) && ended.si_pid == 0) {
    std::this_thread::sleep_for(std::chrono::microseconds{100});
    ::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT);
  }
}

void Trial::kill_after(std::chrono::microseconds delay) {
  std::this_thread::sleep_for(delay);
  ::kill(pid_, SIGKILL);
}

TrialResult Trial::wait(std::chrono::seconds limit) {
  TrialResult result;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, &status, 0);
      result.ending = "timed out";
      break;
    }
    std::this_thread::sleep_for(std::chrono::microseconds{500});
  }
  if (result.ending.empty() && WIFSIGNALED(status)) result.ending = "signal " + std::to_string(WTERMSIG(status));
  result.text = text_of(folder_ / "result");
  result.log = text_of(folder_ / "log");
  return result;
}

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

std::filesystem::path trial_root() {
  return ::access("/dev/shm", W_OK) == 0 ? std::filesystem::path{"/dev/shm"} : std::filesystem::temp_directory_path();
}

}  // namespace stellarium::test
