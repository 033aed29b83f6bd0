#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>

#include "base/mutex.h"
#include "base/result.h"

namespace stellarium::fs {

/// How full the host's file system may become by what clones write: below the mark nothing of theirs is made or grown,
/// so that the database, settling and gc find room, and the host's reserve stays the host's.
///
/// What programs write to files that are passed through nobody here sees: those stop where the file system has nothing
/// left for an ordinary user, and no further one is passed through below the mark.
/// Threads: all functions may be called concurrently.
/// Cost:    one statvfs(3) in 10 ms at most, while there is more room than is asked for.
class Headroom {
 public:
  struct Space {
    std::uint64_t total = 0, free = 0;  ///< bytes of the file system; free: to an ordinary user
  };
  using AskSpace = std::function<Space()>;

  /// `dir` is on the file system that holds staged files. `ask` is statvfs(3) unless a test says otherwise.
  explicit Headroom(const std::filesystem::path& dir, AskSpace ask = {});

  /// A 200th of the file system, between 32 and 512 MiB, but never more than a 32nd of it.
  static std::uint64_t mark_for(std::uint64_t file_system_bytes);

  /// Somebody is about to write so much. Errors: out_of_space (ENOSPC) if less than the mark would be left.
  [[nodiscard]] Result<void> admit(std::uint64_t bytes) EXCLUDES(mutex_);
  bool is_short() EXCLUDES(mutex_);  ///< whether less than the mark is left

  struct State {
    Space space;
    std::uint64_t mark = 0;
    std::uint64_t refused = 0;  ///< how often `admit` said no
  };
  State state() EXCLUDES(mutex_);

  /// Called when space is found short, at most ten times a second, on the thread that found it: it must not wait. Set
  /// before anybody asks, and taken back after the last one did.
  void set_on_short(std::function<void()> hook) EXCLUDES(mutex_);
  /// Whether somebody makes room when it is short, so that waiting for it makes sense.
  void set_may_be_relieved(bool may) { relieved_ = may; }
  bool may_be_relieved() const { return relieved_; }

 private:
  void measure() EXCLUDES(mutex_);
  bool is_due() const;

  const AskSpace ask_;
  std::atomic<std::int64_t> left_ = 0;      // bytes above the mark: as measured, less what was admitted since
  std::atomic<std::int64_t> measured_ = 0;  // when: nanoseconds
  std::atomic<std::uint64_t> refused_ = 0;
  std::atomic<bool> relieved_ = false;
  Mutex mutex_;
  std::function<void()> on_short_ GUARDED_BY(mutex_);
  std::int64_t told_ GUARDED_BY(mutex_) = 0;
};

}  // namespace stellarium::fs
