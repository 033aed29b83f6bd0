#pragma once
#include <condition_variable>
#include <cstdint>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/worker_pool.h"
#include "cdn/objects.h"

namespace stellarium::cdn {

/// Writes objects that are named by their content, several at a time, and only those that the target lacks.
///
/// Memory:  at most `most_waiting` bytes of objects, or one object.
/// Errors:  the first failure ends it: every later call returns it.
/// Threads: one caller; it waits while too much is under way.
class Uploader {
 public:
  struct Options {
    unsigned parallel = 8;
    std::uint64_t most_waiting = 48u << 20;  ///< bytes
  };
  struct Totals {
    std::uint64_t objects = 0, bytes = 0;  ///< of all that were offered
    std::uint64_t written = 0, sent = 0;   ///< objects and bytes that the target lacked
  };
  Uploader(ObjectTarget& target, const Options& options);
  ~Uploader();

  /// An object that the target shall have.
  [[nodiscard]] Result<void> offer(std::string path, std::string bytes) EXCLUDES(mutex_);
  /// Returns when the target has all of them.
  [[nodiscard]] Result<void> finish() EXCLUDES(mutex_);
  Totals totals() const EXCLUDES(mutex_);

 private:
  Result<bool> write_if_missing(const std::string& path, const std::string& bytes);
  void done(const Result<bool>& wrote, std::uint64_t size) EXCLUDES(mutex_);

  ObjectTarget& target_;
  const Options options_;
  mutable Mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t waiting_ GUARDED_BY(mutex_) = 0;  // bytes
  std::size_t jobs_ GUARDED_BY(mutex_) = 0;
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  Totals totals_ GUARDED_BY(mutex_);
  cas::WorkerPool workers_;  // last: its jobs use the members above
};

}  // namespace stellarium::cdn
