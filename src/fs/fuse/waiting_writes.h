#pragma once
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <thread>

#include "base/mutex.h"
#include "fs/headroom.h"

namespace stellarium::fs::fuse {

/// Writes that found the host's file system full while somebody may be making room: they are tried again when there is
/// some, and fail for good after half a second. So programs that write faster than staged files are settled are slowed
/// down before they are refused, and no worker waits along.
///
/// Memory:  what is waiting keeps its bytes, 16 MiB at most; beyond that nothing waits.
/// Threads: all functions may be called concurrently. One thread of its own, which tries.
class WaitingWrites {
 public:
  static constexpr std::chrono::milliseconds kPatience{500};
  static constexpr std::size_t kMostBytes = 16u << 20;

  explicit WaitingWrites(Headroom& headroom);
  ~WaitingWrites();  ///< tries all of them once more
  WaitingWrites(const WaitingWrites&) = delete;
  WaitingWrites& operator=(const WaitingWrites&) = delete;

  /// Whether a write of so many bytes is worth keeping.
  bool may_wait(std::size_t bytes) EXCLUDES(mutex_);
  /// `try_again`, called once on the thread of this, must not wait itself.
  void add(std::size_t bytes, std::function<void()> try_again) EXCLUDES(mutex_);

 private:
  struct Waiting {
    std::size_t bytes;
    std::chrono::steady_clock::time_point until;
    std::function<void()> try_again;
  };
  void work() EXCLUDES(mutex_);
  std::list<Waiting> take_due(bool all) EXCLUDES(mutex_);
  bool sleep() EXCLUDES(mutex_);  ///< false: it is to end

  Headroom& headroom_;
  Mutex mutex_;
  std::condition_variable changed_;
  std::list<Waiting> waiting_ GUARDED_BY(mutex_);  // the longest first
  std::size_t bytes_ GUARDED_BY(mutex_) = 0;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last
};

}  // namespace stellarium::fs::fuse
