#include "tools/cli/container_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "tools/cli/container_init.h"

namespace stellarium::cli {
namespace {

constexpr int kLook = 20;     // ms between two looks at an init that cannot be asked yet
constexpr int kLooks = 1000;  // then it is another one than systemd, and ends by what systemd-nspawn thinks fit

/// systemd-nspawn counts SIGTERM and SIGINT apart, and the second of a kind ends the container at once. What was sent
/// to our whole process group it has already; so it gets ours as the other kind, and one request stays one request.
int passed_on(int signal) {
  return signal == SIGTERM ? SIGINT : SIGTERM;
}

/// In the child. Returns only if the program cannot be started.
void become(char* const* arguments, const sigset_t& mask, pid_t parent) {
  ::signal(SIGPIPE, SIG_DFL);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);  // it ended before it could be waited for
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  ::execvp(arguments[0], arguments);
}

Result<pid_t> start(const std::vector<std::string>& words, const sigset_t& mask) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  const UniqueFd failed{ends[0]};
  UniqueFd failing{ends[1]};
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("starting " + words.front());
  if (child == 0) {
    become(arguments.data(), mask, parent);
    const int why = errno;
    (void)!::write(failing.get(), &why, sizeof why);
    ::_exit(127);
  }
  failing.reset();  // a program that started closes the other one
  int why = 0;
  if (::read(failed.get(), &why, sizeof why) != sizeof why) return child;
  ::waitpid(child, nullptr, 0);
  return fail_errno("starting " + words.front() + (why == ENOENT ? " (apt install systemd-container)" : ""), why);
}

}  // namespace

Result<int> run_container(const std::vector<std::string>& words, bool boots, const Interrupts& interrupts) {
  const auto child = start(words, interrupts.mask_before());
  if (!child) return fail(child.error());
  const UniqueFd ended{static_cast<int>(::syscall(SYS_pidfd_open, *child, 0))};
  if (!ended) return fail_errno("watching " + words.front());
  int held_back = 0;  // a request to end that the container's init would not hear yet
  for (int looked = 0;;) {
    std::array<pollfd, 2> events{{{ended.get(), POLLIN, 0}, {interrupts.fd(), POLLIN, 0}}};
    if (::poll(events.data(), events.size(), held_back != 0 ? kLook : -1) < 0 && errno != EINTR)
      return fail_errno("poll");
    if (events[0].revents != 0) break;
    const int signal = interrupts.take();
    if (signal != 0 && boots && held_back == 0 && looked == 0) {
      held_back = signal;
    } else if (signal != 0) {
      ::kill(*child, passed_on(signal));
    }
    if (held_back != 0 && (++looked == kLooks || init_heeds_halt(*child)))
      ::kill(*child, passed_on(std::exchange(held_back, 0)));
  }
  int status = 0;
  while (::waitpid(*child, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno("waiting for " + words.front());
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace stellarium::cli
