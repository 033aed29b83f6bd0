#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace stellarium::tier {

/// The tier's own threads. Long work is cut into steps of one frame (a fraction of a millisecond) and gives way between
/// two of them if somebody waits, so that a demand read never waits for more than one step.
///
/// Threads: submit from anywhere, the tasks included.
class WorkerPool {
 public:
  enum class Priority : std::uint8_t {
    demand,  ///< somebody waits for these bytes
    step,    ///< the rest of a slice that gave way to a demand
    fill,    ///< hot files and readahead
  };
  explicit WorkerPool(unsigned threads);
  ~WorkerPool() { finish(); }
  void finish();  ///< runs everything that was submitted, and what that submits, then joins

  void submit(Priority priority, std::function<void()> task);
  bool demand_waits() const { return demands_.load(std::memory_order_relaxed) != 0; }
  unsigned threads() const { return static_cast<unsigned>(threads_.size()); }

 private:
  void run();

  Mutex mutex_;
  std::condition_variable work_;
  std::deque<std::function<void()>> demand_ GUARDED_BY(mutex_);
  std::deque<std::function<void()>> fill_ GUARDED_BY(mutex_);
  std::atomic<std::size_t> demands_{0};  // demand_.size(), for who does not hold the lock
  unsigned busy_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace stellarium::tier
