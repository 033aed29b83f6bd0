#include "tools/cli/machine_process.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>

#include "tools/cli/child_program.h"
#include "tools/cli/terminal_state.h"

namespace stellarium::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kFarewell{2};  // a machine that powers off first leaves its device, then ends
constexpr std::chrono::seconds kQemuPatience{
    5};  // with a QEMU that was asked to end: one may wait for its device for ever

/// What is done to QEMU, and when.
struct Next {
  int signal;
  Clock::time_point when;
};

int milliseconds_until(const std::optional<Next>& next) {
  if (!next) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next->when - Clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

}  // namespace

Result<MachineEnd> run_machine(const std::vector<std::string>& words, std::span<const int> descriptors,
                               const Interrupts& interrupts, int server) {
  const TerminalState terminal;
  const auto qemu = ChildProgram::start({.words = words,
                                         .mask = interrupts.mask_before(),
                                         .package = "qemu-system-x86",
                                         .descriptors = descriptors,
                                         .orphan_signal = SIGKILL});  // there is nothing of its own to save
  if (!qemu) return fail(qemu.error());
  MachineEnd end;
  std::optional<Next> next;
  bool is_served = true;
  for (;;) {
    std::array<pollfd, 3> events{
        {{qemu->ended(), POLLIN, 0}, {interrupts.fd(), POLLIN, 0}, {is_served ? server : -1, POLLIN, 0}}};
    if (::poll(events.data(), events.size(), milliseconds_until(next)) < 0 && errno != EINTR) return fail_errno("poll");
    if (events[0].revents != 0) break;
    if (const int signal = interrupts.take(); signal != 0) {
      next = Next{end.signal == 0 ? SIGTERM : SIGKILL, Clock::now()};
      end.signal = signal;
    } else if (events[2].revents != 0) {
      is_served = false;
      if (!next) next = Next{SIGTERM, Clock::now() + kFarewell};
    }
    if (next && next->when <= Clock::now()) {
      end.lost_root = end.signal == 0;
      qemu->kill(next->signal);
      next = Next{SIGKILL, Clock::now() + kQemuPatience};
    }
  }
  terminal.restore();
  auto code = qemu->wait();
  if (!code) return fail(code.error());
  end.code = *code;
  return end;
}

}  // namespace stellarium::cli
