#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <thread>

#include "base/mutex.h"

namespace stellarium::fs {

/// Runs the rounds of a loop on a helper, which sleeps between loops, and on the calling thread once that has time.
///
/// Threads: one caller.
class SharedLoop {
 public:
  using Round = std::function<void(std::size_t)>;

  SharedLoop() = default;
  SharedLoop(const SharedLoop&) = delete;
  SharedLoop& operator=(const SharedLoop&) = delete;
  ~SharedLoop();  ///< rounds that have begun are ended, others left out

  /// Calls round(0) … round(count - 1), each once, from now on. The loop before must be finished.
  void start(std::size_t count, Round round) EXCLUDES(mutex_);
  /// Takes part, and returns after the last round ended; at once if there is no loop.
  void finish() EXCLUDES(mutex_);

 private:
  void help() EXCLUDES(mutex_);
  void take_rounds();

  // Written by the caller while no loop is open.
  Round round_;
  std::size_t count_ = 0;
  std::atomic<std::size_t> next_ = 0;  // the next round to begin

  Mutex mutex_;
  std::condition_variable changed_;
  bool open_ GUARDED_BY(mutex_) = false;  // the helper may join
  bool helping_ GUARDED_BY(mutex_) = false, ending_ GUARDED_BY(mutex_) = false;
  std::thread helper_;
};

}  // namespace stellarium::fs
