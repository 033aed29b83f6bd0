#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "cdn/http/curl_handles.h"
#include "cdn/http/delivered_by.h"
#include "cdn/http/fetch_job.h"
#include "cdn/http/fetch_queue.h"
#include "cdn/http/hedging.h"
#include "cdn/http/rate_limit.h"

namespace stellarium::cdn::http {

/// The thread of an HttpReader: takes what was asked for, keeps libcurl going, and decides what comes after each
/// answer.
///
/// Threads: what is private is its own thread's, but for what the lock guards. libcurl is called by that thread alone
///          (and `curl_multi_wakeup` by others).
class FetchLoop {
 public:
  FetchLoop(Options options, std::vector<Origin> origins, Secrets secrets);
  FetchLoop(const FetchLoop&) = delete;
  FetchLoop& operator=(const FetchLoop&) = delete;
  ~FetchLoop();

  /// `checked`: an error is handed on, where an answer would be.
  void fetch(ObjectRequest request, ObjectReader::Done done, Result<void> checked) EXCLUDES(mutex_);
  void set_background_rate(std::uint64_t rate) EXCLUDES(mutex_);
  ObjectReader::Counters counters() const;

 private:
  struct Counts {
    std::atomic<std::uint64_t> requests = 0, bytes = 0, retries = 0, hedges = 0, refused = 0, cut_short = 0,
                               timed_out = 0, distrusted = 0;
  };
  struct Finished {
    ObjectReader::Done done;
    Result<std::string> result;
  };

  void run();
  bool take_calls() EXCLUDES(mutex_);
  void cancel_all() EXCLUDES(mutex_);

  // fetch_loop.cpp: what begins and what is due
  void start_jobs(Clock::time_point now);
  bool may_start(Urgency urgency, const ObjectRequest& request, Clock::time_point now) const;
  void start_job(FetchQueue::Entry entry, Clock::time_point now);
  void drop_overdue(Clock::time_point now);
  std::vector<unsigned> order_for(const ObjectRequest& request) const;
  void look_after(FetchJob& job, Clock::time_point now);
  void hedge(FetchJob& job, Clock::time_point now);
  Clock::time_point next_event(Clock::time_point now);
  void sweep();

  // fetch_outcome.cpp: what an answer leads to
  bool take_messages(Clock::time_point now);
  void transfer_ended(FetchJob& job, Transfer& transfer, CURLcode code, Clock::time_point now);
  void transfer_failed(FetchJob& job, Transfer& transfer, Transfer::End end, Clock::time_point now);
  void note_answer(Transfer& transfer);
  void note_health(unsigned origin, bool answered, const std::string& text, Clock::time_point now);
  void deliver(FetchJob& job, Transfer& transfer, Clock::time_point now);
  void finish(FetchJob& job, Result<std::string> result);
  void fail_job(FetchJob& job, Clock::time_point now);

  bool begin_transfer(FetchJob& job, unsigned origin, bool beside, Clock::time_point now);
  bool add(Transfer& transfer);
  void remove(FetchJob& job, Transfer& transfer);
  std::pair<FetchJob*, Transfer*> find(CURL* easy);

  const Options options_;  // transfers refer to these three
  const std::vector<Origin> origins_;
  Secrets secrets_;
  Counts counts_;
  CurlMulti multi_;
  std::vector<Breaker> breakers_;            // of origins_
  std::vector<std::optional<bool>> shares_;  // of origins_: whether one connection carries many requests
  RetryPause pause_;
  Hedging hedging_;
  RateLimit background_;
  DeliveredBy delivered_by_;
  FetchQueue queue_;
  std::vector<std::unique_ptr<FetchJob>> jobs_;
  std::uint64_t reserved_ = 0;  // by jobs_, bytes
  std::vector<Finished> finished_;

  Mutex mutex_;
  std::vector<FetchQueue::Entry> called_ GUARDED_BY(mutex_);
  std::optional<std::uint64_t> new_rate_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace stellarium::cdn::http
