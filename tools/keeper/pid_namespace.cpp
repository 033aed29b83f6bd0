#include "tools/keeper/pid_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "tools/keeper/first_process.h"
#include "tools/protocol/channel.h"

namespace stellarium::keeper {
namespace {

[[noreturn]] void become_first(const char* program, int own_end) {
  ::dup2(own_end, STDIN_FILENO);
  // Descriptors of mounts among them: a second holder would keep mounts from ending.
  ::close_range(STDIN_FILENO + 1, ~0u, 0);
  ::execl(program, program, PidNamespace::kFirstProcess, static_cast<char*>(nullptr));
  ::_exit(run_first_process());
}

}  // namespace

Result<PidNamespace> PidNamespace::enter(const std::filesystem::path& keeper) {
  PidNamespace made;
  made.outside_ = UniqueFd{::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC)};
  if (!made.outside_) return fail_errno("/proc/self/ns/pid");
  auto ends = protocol::make_socket_pair();
  if (!ends) return fail(ends.error());
  const UniqueFd own_end = std::move(ends->first);
  made.server_end_ = std::move(ends->second);
  if (::unshare(CLONE_NEWPID) != 0) return fail_errno("making a pid namespace");
  made.first_ = ::fork();
  if (made.first_ == 0) become_first(keeper.c_str(), own_end.get());
  if (made.first_ > 0) return made;
  const auto failed = fail_errno("starting the first process of a pid namespace");
  if (auto left = made.leave(); !left) return fail(left.error());
  return failed;
}

Result<void> PidNamespace::leave() {
  server_end_.reset();
  if (::setns(outside_.get(), CLONE_NEWPID) != 0) return fail_errno("leaving a pid namespace");
  return {};
}

void PidNamespace::end() {
  if (first_ <= 0) return;
  ::kill(first_, SIGKILL);
  while (::waitpid(first_, nullptr, 0) < 0 && errno == EINTR) continue;
  first_ = 0;
}

int run_first_process() {
  return answer_server(protocol::Channel{UniqueFd{STDIN_FILENO}});
}

}  // namespace stellarium::keeper
