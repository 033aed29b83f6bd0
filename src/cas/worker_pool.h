#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace stellarium::cas {

/// A fixed number of threads that run jobs in the order of submission. Jobs must not wait for other jobs.
///
/// Threads: `submit` may be called concurrently. The destructor runs what was submitted before it returns.
class WorkerPool {
 public:
  explicit WorkerPool(unsigned threads);
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  ~WorkerPool();

  void submit(std::function<void()> job) EXCLUDES(mutex_);
  unsigned size() const { return static_cast<unsigned>(threads_.size()); }

 private:
  void run() EXCLUDES(mutex_);

  Mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;  // last: they use the members above
};

}  // namespace stellarium::cas
