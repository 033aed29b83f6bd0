#include "tools/keeper/pid_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace stellarium::keeper {
namespace {

[[noreturn]] void become_first(const char* program, int lifeline) {
  ::dup2(lifeline, STDIN_FILENO);
  // Descriptors of mounts among them: a second holder would keep mounts from ending.
  ::close_range(STDIN_FILENO + 1, ~0u, 0);
  ::execl(program, program, PidNamespace::kHoldNamespace, static_cast<char*>(nullptr));
  ::_exit(hold_namespace());
}

}  // namespace

Result<PidNamespace> PidNamespace::enter(const std::filesystem::path& keeper) {
  PidNamespace made;
  made.outside_ = UniqueFd{::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC)};
  if (!made.outside_) return fail_errno("/proc/self/ns/pid");
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  const UniqueFd held{ends[0]};
  made.lifeline_ = UniqueFd{ends[1]};
  if (::unshare(CLONE_NEWPID) != 0) return fail_errno("making a pid namespace");
  made.first_ = ::fork();
  if (made.first_ == 0) become_first(keeper.c_str(), held.get());
  if (made.first_ > 0) return made;
  const auto failed = fail_errno("starting the first process of a pid namespace");
  if (auto left = made.leave(); !left) return fail(left.error());
  return failed;
}

Result<void> PidNamespace::leave() {
  lifeline_.reset();
  if (::setns(outside_.get(), CLONE_NEWPID) != 0) return fail_errno("leaving a pid namespace");
  return {};
}

void PidNamespace::end() {
  if (first_ <= 0) return;
  ::kill(first_, SIGKILL);
  while (::waitpid(first_, nullptr, 0) < 0 && errno == EINTR) continue;
  first_ = 0;
}

int hold_namespace() {
  char byte = 0;
  while (true) {
    const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
    if (got == 0) return 0;
    if (got < 0 && errno != EINTR) return 1;
  }
}

}  // namespace stellarium::keeper
