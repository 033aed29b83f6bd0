#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <thread>

#include "base/mutex.h"

namespace stellarium::fs {

/// Runs the rounds of a loop on the calling thread and on one helper, which sleeps between loops.
///
/// Threads: one caller at a time. The helper starts with the first loop of several rounds.
class SharedLoop {
 public:
  using Round = std::function<void(std::size_t)>;

  SharedLoop() = default;
  SharedLoop(const SharedLoop&) = delete;
  SharedLoop& operator=(const SharedLoop&) = delete;
  ~SharedLoop();

  /// Calls round(0) … round(count - 1), each once, on either thread; returns after the last one ended.
  void run(std::size_t count, const Round& round) EXCLUDES(mutex_);

 private:
  void help() EXCLUDES(mutex_);
  void take_rounds(std::size_t count, const Round& round);

  Mutex mutex_;
  std::condition_variable changed_;
  const Round* round_ GUARDED_BY(mutex_) = nullptr;  // what the helper may take part in
  std::size_t count_ GUARDED_BY(mutex_) = 0;
  bool helping_ GUARDED_BY(mutex_) = false, ending_ GUARDED_BY(mutex_) = false;
  std::atomic<std::size_t> next_ = 0;
  std::thread helper_;
};

}  // namespace stellarium::fs
