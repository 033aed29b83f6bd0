#pragma once
#include <chrono>
#include <condition_variable>
#include <optional>
#include <thread>

#include "base/mutex.h"
#include "tools/server/store.h"

namespace stellarium::server {

/// Settles what is quiet, on a thread of low priority that gets out of everybody's way: it rests as long as it works,
/// and ends its run as soon as a command wants to settle. When space gets short it neither rests nor waits for files to
/// be quiet for long.
///
/// Threads: one of its own, between construction and destruction. Errors are logged.
class BackgroundSettling {
 public:
  /// Files that nobody changed for so long are quiet. Nothing: this thread settles nothing.
  using Quiet = std::optional<std::chrono::milliseconds>;
  /// STELLARIUM_SETTLE_AFTER, seconds or "never"; 30 seconds without it.
  static Quiet quiet_from_environment();

  /// Whether settling is what the host's file system needs now. All in bytes; `staged`: what staged files take.
  static bool is_space_short(std::uint64_t total, std::uint64_t free, std::uint64_t staged);

  /// Borrows the store, whose mounts an earlier server left are taken over by now.
  BackgroundSettling(Store& store, Quiet quiet);
  ~BackgroundSettling();  ///< waits until what is being settled just now is
  BackgroundSettling(const BackgroundSettling&) = delete;
  BackgroundSettling& operator=(const BackgroundSettling&) = delete;

 private:
  void work(std::chrono::milliseconds quiet) EXCLUDES(mutex_);
  bool settle(std::chrono::milliseconds quiet, bool is_short);             ///< whether anything was settled
  bool wait(std::chrono::nanoseconds time) EXCLUDES(mutex_);               ///< false: it is to end
  bool wait_between_runs(std::chrono::nanoseconds time) EXCLUDES(mutex_);  ///< … less if space gets short
  void hurry() EXCLUDES(mutex_);

  Store& store_;
  Mutex mutex_;
  std::condition_variable changed_;
  bool ending_ GUARDED_BY(mutex_) = false, hurrying_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  ///< last: starts when everything else is there
};

}  // namespace stellarium::server
