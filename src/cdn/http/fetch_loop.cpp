#include "cdn/http/fetch_loop.h"

#include <csignal>

#include <algorithm>
#include <random>

namespace stellarium::cdn::http {
namespace {

constexpr milliseconds kLongestSleep{60'000};

/// OpenSSL writes to sockets in a way that ends the process if the other end is gone, and who loads this library may
/// have its own use for the signal: it is blocked in this thread alone.
void block_sigpipe() {
  sigset_t broken_pipe;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  (void)::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
}

}  // namespace

FetchLoop::FetchLoop(Options options, std::vector<Origin> origins, Secrets secrets)
    : options_{std::move(options)},
      origins_{std::move(origins)},
      secrets_{std::move(secrets)},
      breakers_(origins_.size(), Breaker{options_.skip_after, options_.first_skip, options_.longest_skip}),
      shares_(origins_.size()),
      pause_{options_.first_pause, options_.longest_pause, std::random_device{}()},
      hedging_{options_} {
  background_.set(options_.background_rate, Clock::now());
  curl_multi_setopt(multi_.get(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(2 * options_.parallel));
  thread_ = std::thread{[this] { run(); }};
}

FetchLoop::~FetchLoop() {
  {
    MutexLock lock{mutex_};
    stopping_ = true;
    curl_multi_wakeup(multi_.get());  // under the lock: the thread closes it as soon as it knows
  }
  thread_.join();
}

void FetchLoop::fetch(ObjectRequest request, ObjectReader::Done done, Result<void> checked) {
  bool first = false;
  {
    MutexLock lock{mutex_};
    first = called_.empty();
    called_.push_back({std::move(request), std::move(done), Clock::now(), std::move(checked)});
  }
  if (first) curl_multi_wakeup(multi_.get());
}

void FetchLoop::set_background_rate(std::uint64_t rate) {
  {
    MutexLock lock{mutex_};
    new_rate_ = rate;
  }
  curl_multi_wakeup(multi_.get());
}

ObjectReader::Counters FetchLoop::counters() const {
  return {.requests = counts_.requests,
          .bytes = counts_.bytes,
          .retries = counts_.retries,
          .hedges = counts_.hedges,
          .refused = counts_.refused,
          .cut_short = counts_.cut_short,
          .timed_out = counts_.timed_out,
          .distrusted = counts_.distrusted};
}

void FetchLoop::run() {
  block_sigpipe();
  while (take_calls()) {
    Clock::time_point now = Clock::now();
    drop_overdue(now);
    start_jobs(now);
    for (const auto& job : jobs_) look_after(*job, now);
    int running = 0;
    curl_multi_perform(multi_.get(), &running);
    now = Clock::now();
    const bool more = take_messages(now);
    sweep();
    for (Finished& finished : std::exchange(finished_, {})) finished.done(std::move(finished.result));
    if (more) continue;  // places are free, or somebody is to be asked again
    const auto wait = std::chrono::ceil<milliseconds>(next_event(now) - now);
    const auto sleep = static_cast<int>(std::clamp(wait, milliseconds{0}, kLongestSleep).count());
    if (curl_multi_poll(multi_.get(), nullptr, 0, sleep, nullptr) != CURLM_OK)
      std::this_thread::sleep_for(milliseconds{10});  // no memory: it would come back at once
  }
  cancel_all();
  multi_.close();  // here, where a connection that is gone raises no signal
}

/// Takes what was called for meanwhile. False: it is to end.
bool FetchLoop::take_calls() {
  std::vector<FetchQueue::Entry> called;
  std::optional<std::uint64_t> rate;
  {
    MutexLock lock{mutex_};
    if (stopping_) return false;
    called.swap(called_);
    rate.swap(new_rate_);
  }
  if (rate) background_.set(*rate, Clock::now());
  for (FetchQueue::Entry& entry : called) {
    if (!entry.checked)
      finished_.push_back({std::move(entry.done), fail(entry.checked.error())});
    else if (entry.request.size == 0u)
      finished_.push_back({std::move(entry.done), std::string{}});  // which no range can say
    else
      queue_.push(std::move(entry));
  }
  return true;
}

void FetchLoop::cancel_all() {
  for (const auto& job : jobs_)
    if (!job->ended) finish(*job, fail(Errc::cancelled, job->request.path + ": the reader ends"));
  sweep();
  for (;;) {
    {
      MutexLock lock{mutex_};  // also what they call for who are told that it ends
      for (FetchQueue::Entry& entry : std::exchange(called_, {})) queue_.push(std::move(entry));
    }
    for (const Urgency urgency : FetchQueue::kOrder)
      for (FetchQueue::Entry& entry : std::exchange(queue_.of(urgency), {}))
        finished_.push_back({std::move(entry.done), fail(Errc::cancelled, entry.request.path + ": the reader ends")});
    if (finished_.empty()) return;
    for (Finished& finished : std::exchange(finished_, {})) finished.done(std::move(finished.result));
  }
}

/// Who waits has waited long enough, also where nothing could begin.
void FetchLoop::drop_overdue(Clock::time_point now) {
  auto& waiting = queue_.of(Urgency::waited_for);
  while (!waiting.empty() && waiting.front().asked + options_.request_bound <= now) {
    FetchQueue::Entry& entry = waiting.front();
    finished_.push_back({std::move(entry.done),
                         fail(Errc::unavailable, entry.request.path + ": too many requests are under way: the origins "
                                                                      "are too slow for what is asked of them")});
    waiting.pop_front();
  }
}

bool FetchLoop::may_start(Urgency urgency, const ObjectRequest& request, Clock::time_point now) const {
  if (jobs_.size() >= FetchQueue::places(urgency, options_.parallel)) return false;
  if (urgency == Urgency::background && background_.next() > now) return false;
  return jobs_.empty() || reserved_ + request.size.value_or(request.limit) <= options_.memory;
}

void FetchLoop::start_jobs(Clock::time_point now) {
  for (const Urgency urgency : FetchQueue::kOrder) {
    auto& waiting = queue_.of(urgency);
    while (!waiting.empty() && may_start(urgency, waiting.front().request, now)) {
      start_job(std::move(waiting.front()), now);
      waiting.pop_front();
    }
    if (!waiting.empty()) return;  // what is less urgent must not take its place
  }
}

void FetchLoop::start_job(FetchQueue::Entry entry, Clock::time_point now) {
  AttemptPlan plan{order_for(entry.request), options_.tries};
  auto job = std::make_unique<FetchJob>(std::move(entry.request), std::move(entry.done), std::move(plan));
  job->begun = now;
  job->hold();
  // Nobody waits for what the rate holds back, so it has all its time from now on.
  job->deadline = options_.request_bound + (job->request.urgency == Urgency::waited_for ? entry.asked : now);
  if (job->request.distrusted > 0) ++counts_.distrusted;
  if (job->request.urgency == Urgency::background) background_.take(job->request.size.value_or(0), now);
  reserved_ += job->reserved();
  jobs_.push_back(std::move(job));
}

/// The preferred one first; but who brought wrong bytes comes last.
std::vector<unsigned> FetchLoop::order_for(const ObjectRequest& request) const {
  const auto count = static_cast<unsigned>(origins_.size());
  unsigned first = 0;
  if (request.distrusted > 0) {
    const auto suspect = delivered_by_.find(request.path, request.offset);
    first = suspect ? *suspect + 1 : request.distrusted;
  }
  std::vector<unsigned> order;
  for (unsigned n = 0; n < count; ++n) order.push_back((first + n) % count);
  return order;
}

void FetchLoop::look_after(FetchJob& job, Clock::time_point now) {
  if (job.ended) return;
  if (now >= job.deadline) {
    for (const auto& transfer : job.transfers) {
      job.plan.failed(transfer->origin(), Judgement::Meaning::none, transfer->text_when_late());
      note_health(transfer->origin(), false, transfer->text_when_late(), now);
    }
    if (!job.transfers.empty()) ++counts_.timed_out;
    return fail_job(job, now);
  }
  for (std::size_t at = job.transfers.size(); at-- > 0;) {
    Transfer& transfer = *job.transfers[at];
    if (!transfer.too_slow(now)) continue;
    job.new_connection = true;
    transfer_failed(job, transfer, transfer.give_up_slow(), now);
  }
  if (job.ended) return;
  if (job.transfers.size() == 1) return hedge(job, now);
  if (!job.transfers.empty()) return;
  const AttemptPlan::Step step = job.plan.next(now, job.deadline, breakers_, pause_);
  if (step.kind == AttemptPlan::Step::Kind::end) return fail_job(job, now);
  if (step.kind == AttemptPlan::Step::Kind::ask && !begin_transfer(job, step.origin, false, now)) fail_job(job, now);
}

void FetchLoop::hedge(FetchJob& job, Clock::time_point now) {
  const Transfer& slow = *job.transfers.front();
  if (job.request.urgency != Urgency::waited_for || now < slow.silent_since() + hedging_.patience()) return;
  if (reserved_ + job.reserved() > options_.memory || !hedging_.take()) return;
  job.new_connection = true;  // silence may be the connection's
  // A part of an object whose size nobody knows is gone on with by who began it.
  const bool only_there = !job.request.size && !job.body.empty();
  const auto other = only_there ? std::nullopt : job.plan.beside(slow.origin(), now, breakers_);
  if (begin_transfer(job, other.value_or(slow.origin()), true, now)) {
    ++counts_.hedges;
    job.hold();
    reserved_ += job.reserved();
  }
}

bool FetchLoop::begin_transfer(FetchJob& job, unsigned origin, bool beside, Clock::time_point now) {
  Transfer::Request request{.path = job.request.path,
                            .asked = job.asked(origin),
                            .no_cache = job.request.distrusted > 0,
                            .new_connection = job.new_connection,
                            .share_connection = origins_[origin].address.secret() && shares_[origin].value_or(true)};
  auto transfer = Transfer::create(options_, secrets_, origins_[origin], origin, std::move(request), now);
  if (!transfer || !add(**transfer)) return false;
  if (!beside && job.plan.begun() == 0) hedging_.sent();
  if (!beside && job.plan.begun() > 0) ++counts_.retries;
  if (beside)
    job.plan.began_beside();
  else
    job.plan.began(origin);
  breakers_[origin].begin(now);
  job.new_connection = false;
  job.transfers.push_back(*std::move(transfer));
  return true;
}

bool FetchLoop::add(Transfer& transfer) {
  if (curl_multi_add_handle(multi_.get(), transfer.handle()) != CURLM_OK) return false;
  ++counts_.requests;
  return true;
}

/// When something is to be done that libcurl knows nothing of.
Clock::time_point FetchLoop::next_event(Clock::time_point now) {
  Clock::time_point next = now + kLongestSleep;
  const auto at = [&next, now](Clock::time_point time) { next = std::min(next, std::max(time, now)); };
  for (const auto& job : jobs_) {
    at(job->deadline);
    for (const auto& transfer : job->transfers) at(transfer->next_look());
    if (job->transfers.empty()) at(job->plan.due());
    if (job->transfers.size() == 1 && job->request.urgency == Urgency::waited_for)
      if (const auto hedged = job->transfers.front()->silent_since() + hedging_.patience(); hedged > now) at(hedged);
  }
  if (const auto& waiting = queue_.of(Urgency::waited_for); !waiting.empty())
    at(waiting.front().asked + options_.request_bound);
  if (!queue_.of(Urgency::background).empty() && background_.next() > now) at(background_.next());
  return next;
}

/// Forgets jobs that have ended.
void FetchLoop::sweep() {
  std::erase_if(jobs_, [this](const auto& job) {
    if (job->ended) reserved_ -= job->held;
    return job->ended;
  });
}

}  // namespace stellarium::cdn::http
