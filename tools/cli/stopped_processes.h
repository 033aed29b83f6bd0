#pragma once
#include <sys/types.h>

#include <map>
#include <set>

#include "base/result.h"

namespace stellarium::cli {

/// Processes that stand still, by SIGSTOP, while this object lives: those whose root or current directory lies on one
/// mount. A process that was stopped already stays so afterwards; this one and those that wait for it go on.
///
/// If this process is killed, a child of it continues them. What a process has given to the kernel to do (io_uring,
/// aio) is not stopped. Threads: one.
class StoppedProcesses {
 public:
  /// Returns when all are found and none of their threads runs. Errors: permission, busy (one that does not stop
  /// within ten seconds, or new ones all the time); all go on then.
  static Result<StoppedProcesses> stop(dev_t mount);
  StoppedProcesses(StoppedProcesses&&) noexcept;
  StoppedProcesses& operator=(StoppedProcesses&&) = delete;
  ~StoppedProcesses();

  std::size_t size() const { return stopped_.size(); }

 private:
  StoppedProcesses() = default;
  [[nodiscard]] Result<void> begin_watch();
  [[nodiscard]] Result<bool> stop_more(dev_t mount);  ///< false: there are none
  [[nodiscard]] Result<void> wait_for_all() const;
  void tell_watch(pid_t pid) const;

  std::set<pid_t> stopped_;
  int watch_ = -1;  // its end makes the child continue them
  pid_t watcher_ = -1;
};

}  // namespace stellarium::cli
