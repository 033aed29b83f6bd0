#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "tier/fill_job.h"

namespace stellarium::tier {

/// Fills hot files, one job per content however many callers ask for it.
///
/// Threads: all functions may be called concurrently; callbacks run on the pool's threads, without a lock held.
/// Errors:  those of FillJob. The first failure for lack of space is logged, and then no other until a fill succeeds.
class Filler {
 public:
  Filler(ContentReader& reader, HotStore& hot, Io& io, WorkerPool& pool) : context_{reader, hot, io, pool, stopping_} {}

  void fill(const ContentRef& content, FillJob::Done done);
  /// What a running job has of the range already; nothing if none runs or it is not that far.
  std::optional<std::size_t> read_filled(const ContentRef& content, std::uint64_t offset, MutableByteSpan out);
  void stop() { stopping_ = true; }  ///< running jobs end with `cancelled`

  struct Stats {
    std::uint64_t fills, failures;
  };
  Stats stats() const { return {fills_.load(std::memory_order_relaxed), failures_.load(std::memory_order_relaxed)}; }

 private:
  struct Flight {
    std::shared_ptr<FillJob> job;
    std::vector<FillJob::Done> waiting;
  };
  void landed(const ContentRef& content, const Result<HotFilePtr>& result);

  std::atomic<bool> stopping_{false};
  const FillJob::Context context_;
  Mutex mutex_;
  std::unordered_map<cas::ContentId, Flight, cas::HashOfHash> flights_ GUARDED_BY(mutex_);
  std::atomic<std::uint64_t> fills_{0}, failures_{0};
  std::atomic<bool> lacks_space_{false};
};

}  // namespace stellarium::tier
