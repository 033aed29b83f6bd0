#pragma once
#include <sys/types.h>

#include <functional>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::cli {

/// A process beside this one that undoes what this one is about to make, as soon as that is asked for or this process
/// has ended, however it ended. So nothing is left of a command that was killed.
///
/// It is a copy of this process as it was at `begin`, in a session of its own, and deaf to requests to end.
/// Threads: `begin` while there is only one.
class UndoProcess {
 public:
  /// `undo` returns an exit code. Errors: io.
  static Result<UndoProcess> begin(std::function<int()> undo);
  UndoProcess(UndoProcess&& other) noexcept;
  UndoProcess& operator=(UndoProcess&&) = delete;
  ~UndoProcess();  ///< as `finish`

  /// Has it undone, now. If that process was killed, this one does it.
  int finish();

 private:
  UndoProcess(pid_t pid, UniqueFd end, std::function<int()> undo)
      : pid_{pid}, end_{std::move(end)}, undo_{std::move(undo)} {}
  pid_t pid_;     // 0: it is done
  UniqueFd end_;  // of a pipe, the only one: closed when we end
  std::function<int()> undo_;
};

}  // namespace stellarium::cli
