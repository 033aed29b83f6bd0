#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>

#include "base/mutex.h"
#include "base/result.h"

namespace stellarium::fs {

/// Keeps records from becoming durable before the bytes that they name: one sync covers the whole log, so while it
/// runs no record may enter the log whose file was not synced before.
///
/// Threads: all functions may be called concurrently. Whoever comes while a round runs shares the next one.
class SyncOrder {
 public:
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

  /// `files` makes durable what was noted, `records` the log. `files` is called twice: the second time no change is
  /// under way, and only what came during the first is left to do.
  [[nodiscard]] Result<void> sync(const std::function<Result<void>()>& files,
                                  const std::function<Result<void>()>& records) EXCLUDES(mutex_);

 private:
  void enter() EXCLUDES(mutex_);
  void leave() EXCLUDES(mutex_);
  void close() EXCLUDES(mutex_);
  void finish(std::uint64_t round, bool done) EXCLUDES(mutex_);

  Mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t changes_ GUARDED_BY(mutex_) = 0;                              // under way
  bool closed_ GUARDED_BY(mutex_) = false;                                    // to changes
  bool running_ GUARDED_BY(mutex_) = false;                                   // a round
  std::uint64_t begun_ GUARDED_BY(mutex_) = 0, done_ GUARDED_BY(mutex_) = 0;  // rounds; done_: the last that succeeded
};

}  // namespace stellarium::fs
