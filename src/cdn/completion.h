#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <thread>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/content_store.h"
#include "cdn/fetch_all.h"
#include "cdn/lazy_contents.h"

namespace stellarium::cdn {

/// Fetches all that is missing of a lazy image, whose contents then are like any others'. Returns the bytes fetched.
/// `reader`: of its remote.
/// Errors: those of the reader, cancelled, corrupt: the image stays lazy.
[[nodiscard]] Result<std::uint64_t> complete(LazyContents& lazy, cas::ContentStore& store,
                                             const LazyContents::ImagePtr& image, ObjectReader& reader, Urgency urgency,
                                             const FetchProgress& progress);

/// Completes lazy images one after the other, in the background, and tries again later what failed.
///
/// Rate:    at most `Options::rate` bytes a second, in small requests, and nothing while somebody waits for what he
/// reads. Threads: one of its own; all functions may be called concurrently.
class Completion {
 public:
  struct Options {
    std::uint64_t rate = 8u << 20;                            ///< bytes a second; 0: no limit
    std::chrono::milliseconds quiet{1000};                    ///< since somebody waited, before it goes on
    std::chrono::seconds first_pause{1}, longest_pause{300};  ///< before a failed image is tried again; doubled
  };
  Completion(LazyContents& lazy, cas::ContentStore& store, const Options& options);
  ~Completion();
  void wake() EXCLUDES(mutex_);  ///< there may be a new image

 private:
  void run() EXCLUDES(mutex_);
  /// Sleeps while somebody waits for what he reads; false if it is to stop.
  bool rest_until_quiet() EXCLUDES(mutex_);
  /// Sleeps; false if it is to stop.
  bool rest(std::chrono::milliseconds time) EXCLUDES(mutex_);
  bool complete_next() EXCLUDES(mutex_);

  LazyContents& lazy_;
  cas::ContentStore& store_;
  const Options options_;
  Mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ GUARDED_BY(mutex_) = false, woken_ GUARDED_BY(mutex_) = true;
  std::thread thread_;  // last: uses the members above
};

}  // namespace stellarium::cdn
