#include "tools/cli/child_program.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace stellarium::cli {
namespace {

/// In the child. Returns only if the program cannot be started.
void become(char* const* arguments, const ChildProgram::Options& options, pid_t parent) {
  ::signal(SIGPIPE, SIG_DFL);
  ::prctl(PR_SET_PDEATHSIG, options.orphan_signal);
  if (::getppid() != parent) ::_exit(1);  // it ended before it could be waited for
  for (const int descriptor : options.descriptors) ::fcntl(descriptor, F_SETFD, 0);
  ::pthread_sigmask(SIG_SETMASK, &options.mask, nullptr);
  ::execvp(arguments[0], arguments);
}

}  // namespace

Result<ChildProgram> ChildProgram::start(const Options& options) {
  const std::string& name = options.words.front();
  std::vector<char*> arguments;
  for (const std::string& word : options.words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  const UniqueFd failed{ends[0]};
  UniqueFd failing{ends[1]};
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("starting " + name);
  if (child == 0) {
    become(arguments.data(), options, parent);
    const int why = errno;
    (void)!::write(failing.get(), &why, sizeof why);
    ::_exit(127);
  }
  failing.reset();  // a program that started closes the other one
  int why = 0;
  if (::read(failed.get(), &why, sizeof why) == sizeof why) {
    ::waitpid(child, nullptr, 0);
    return fail_errno("starting " + name + (why == ENOENT ? " (apt install " + std::string{options.package} + ")" : ""),
                      why);
  }
  UniqueFd ended{static_cast<int>(::syscall(SYS_pidfd_open, child, 0))};
  if (!ended) {
    const int reason = errno;
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    return fail_errno("watching " + name, reason);
  }
  return ChildProgram{child, std::move(ended), name};
}

Result<int> ChildProgram::wait() const {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno("waiting for " + name_);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace stellarium::cli
