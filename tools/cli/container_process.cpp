#include "tools/cli/container_process.h"

#include <poll.h>
#include <signal.h>

#include <array>
#include <cerrno>
#include <utility>

#include "tools/cli/child_program.h"
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

}  // namespace

Result<int> run_container(const std::vector<std::string>& words, bool boots, const Interrupts& interrupts) {
  const auto child =
      ChildProgram::start({.words = words, .mask = interrupts.mask_before(), .package = "systemd-container"});
  if (!child) return fail(child.error());
  int held_back = 0;  // a request to end that the container's init would not hear yet
  for (int looked = 0;;) {
    std::array<pollfd, 2> events{{{child->ended(), POLLIN, 0}, {interrupts.fd(), POLLIN, 0}}};
    if (::poll(events.data(), events.size(), held_back != 0 ? kLook : -1) < 0 && errno != EINTR)
      return fail_errno("poll");
    if (events[0].revents != 0) break;
    const int signal = interrupts.take();
    if (signal != 0 && boots && held_back == 0 && looked == 0) {
      held_back = signal;
    } else if (signal != 0) {
      child->kill(passed_on(signal));
    }
    if (held_back != 0 && (++looked == kLooks || init_heeds_halt(child->pid())))
      child->kill(passed_on(std::exchange(held_back, 0)));
  }
  return child->wait();
}

}  // namespace stellarium::cli
