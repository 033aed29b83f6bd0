#pragma once
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/mutex.h"
#include "base/result.h"

namespace stellarium::fs {

/// Keeps records from becoming durable before the bytes that they name: one sync covers the whole log, so while it
/// runs no record may enter the log whose file was not synced before.
///
/// To sync thousands of files takes seconds, in which programs make new ones. So a round syncs what came during its
/// last step as often as that is much, and lets changes wait for the rest only. Where files are made faster than the
/// disk takes them, each change is held up for a moment, longer and longer until the disk catches up.
/// Threads: all functions may be called concurrently. Whoever comes while a round runs shares the next one.
class SyncOrder {
 public:
  /// Changes wait for the syncs of about as many files.
  static constexpr std::size_t kFew = 4;
  /// Steps in which changes go on; then they wait for all that is left.
  static constexpr int kMostSteps = 20;
  /// The longest that one change is held up for the disk to catch up.
  static constexpr std::chrono::milliseconds kLongestPause{16};

  /// Held from before a staged file is noted as unsynced until the batch that names it is written. Takes turns with
  /// the last step of `sync`, so it holds nothing that a sync waits for.
  class Change {
   public:
    explicit Change(SyncOrder& order) : order_{order} { order_.enter(); }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change() { order_.leave(); }

   private:
    SyncOrder& order_;
  };

  /// `files` makes durable what was noted and says how many files that was, `records` makes durable the log. `files` is
  /// called at least twice: the last time no change is under way.
  [[nodiscard]] Result<void> sync(const std::function<Result<std::size_t>()>& files,
                                  const std::function<Result<void>()>& records) EXCLUDES(mutex_);

 private:
  using Pause = std::chrono::milliseconds;
  Result<void> sync_most(const std::function<Result<std::size_t>()>& files) EXCLUDES(mutex_);
  void hold_up(Pause each) EXCLUDES(mutex_);
  void enter() EXCLUDES(mutex_);
  void leave() EXCLUDES(mutex_);
  void close() EXCLUDES(mutex_);
  void finish(std::uint64_t round, bool done) EXCLUDES(mutex_);

  Mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t changes_ GUARDED_BY(mutex_) = 0;                              // under way
  bool closed_ GUARDED_BY(mutex_) = false;                                    // to changes
  Pause pause_ GUARDED_BY(mutex_) = Pause::zero();                            // of each change
  bool running_ GUARDED_BY(mutex_) = false;                                   // a round
  std::uint64_t begun_ GUARDED_BY(mutex_) = 0, done_ GUARDED_BY(mutex_) = 0;  // rounds; done_: the last that succeeded
};

}  // namespace stellarium::fs
