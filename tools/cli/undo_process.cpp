#include "tools/cli/undo_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace stellarium::cli {
namespace {

/// Waits until nobody holds the other end any more.
void wait_for_end(int pipe) {
  char byte = 0;
  while (::read(pipe, &byte, 1) < 0 && errno == EINTR) {
  }
}

[[noreturn]] void stand_by(int pipe, const std::function<int()>& undo) {
  ::setsid();  // what is sent to a terminal's programs, or to a group of them, is not for it
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);
  wait_for_end(pipe);
  ::_exit(undo());
}

}  // namespace

Result<UndoProcess> UndoProcess::begin(std::function<int()> undo) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  const UniqueFd read_end{ends[0]};
  UniqueFd write_end{ends[1]};
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("fork");
  if (pid == 0) {
    write_end.reset();
    stand_by(read_end.get(), undo);
  }
  return UndoProcess{pid, std::move(write_end), std::move(undo)};
}

UndoProcess::UndoProcess(UndoProcess&& other) noexcept
    : pid_{std::exchange(other.pid_, 0)}, end_{std::move(other.end_)}, undo_{std::move(other.undo_)} {}

UndoProcess::~UndoProcess() {
  finish();
}

int UndoProcess::finish() {
  if (pid_ == 0) return 0;
  end_.reset();
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : undo_();
}

}  // namespace stellarium::cli
