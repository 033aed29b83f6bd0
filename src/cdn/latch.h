#pragma once
#include <condition_variable>
#include <cstddef>

#include "base/mutex.h"

namespace stellarium::cdn {

/// Waits until jobs on other threads have all ended. (std::latch may be left by its waiter while the last one still
/// uses it.)
class Latch {
 public:
  explicit Latch(std::size_t jobs) : left_{jobs} {}
  void count_down() EXCLUDES(mutex_) {
    const MutexLock lock{mutex_};
    if (--left_ == 0) ended_.notify_all();
  }
  void wait() EXCLUDES(mutex_) {
    MutexLock lock{mutex_};
    while (left_ != 0) lock.wait(ended_);
  }

 private:
  Mutex mutex_;
  std::condition_variable ended_;
  std::size_t left_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::cdn
