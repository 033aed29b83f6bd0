#include <algorithm>
#include <cassert>

#include "base/log.h"
#include "cdn/http/fetch_loop.h"

// What an answer, or the want of one, leads to.
namespace stellarium::cdn::http {
namespace {

using Meaning = Judgement::Meaning;
using How = Transfer::End::How;

constexpr std::uint64_t kSome = 64u << 10;  // bytes with which a transfer that failed was worth it

}  // namespace

std::pair<FetchJob*, Transfer*> FetchLoop::find(CURL* easy) {
  char* known = nullptr;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &known);
  for (const auto& job : jobs_)
    for (const auto& transfer : job->transfers)
      if (static_cast<void*>(transfer.get()) == static_cast<void*>(known)) return {job.get(), transfer.get()};
  return {nullptr, nullptr};
}

/// Whether there was any.
bool FetchLoop::take_messages(Clock::time_point now) {
  bool any = false;
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    any = true;
    CURL* const easy = message->easy_handle;
    const CURLcode code = message->data.result;  // the message goes with the handle
    const auto [job, transfer] = find(easy);
    if (transfer != nullptr) transfer_ended(*job, *transfer, code, now);
  }
  for (const auto& job : jobs_)  // what began to be answered, while it is not done
    for (const auto& transfer : job->transfers) note_answer(*transfer);
  return any;
}

void FetchLoop::note_answer(Transfer& transfer) {
  if (const auto wait = transfer.take_wait()) hedging_.answered(*wait);
}

void FetchLoop::transfer_ended(FetchJob& job, Transfer& transfer, CURLcode code, Clock::time_point now) {
  note_answer(transfer);
  if (const auto shares = transfer.multiplexed()) shares_[transfer.origin()] = shares;
  Transfer::End end = transfer.end(code);
  if (end.how == How::delivered && job.fits(transfer)) return deliver(job, transfer, now);
  if (end.how == How::delivered) end = {How::judged, Meaning::changed, "has an object of another size now"};
  if (end.how == How::judged && end.meaning == Meaning::redirect) {
    curl_multi_remove_handle(multi_.get(), transfer.handle());
    auto followed = transfer.follow(now);
    if (followed && add(transfer)) return;
    end.meaning = Meaning::wrong;
    end.text = followed ? "redirects where libcurl does not go" : followed.error().context;
  }
  transfer_failed(job, transfer, std::move(end), now);
}

void FetchLoop::transfer_failed(FetchJob& job, Transfer& transfer, Transfer::End end, Clock::time_point now) {
  const unsigned origin = transfer.origin();
  Clock::time_point not_before = Clock::time_point::min();
  bool answered = end.how == How::judged;
  if (end.how == How::judged && end.meaning == Meaning::busy) {
    answered = false;
    if (transfer.refused()) ++counts_.refused;
    if (const auto& after = transfer.judgement().retry_after) not_before = now + std::chrono::seconds{*after};
  }
  if (end.how == How::timed_out) ++counts_.timed_out;
  if (end.how == How::cut) ++counts_.cut_short;
  if (end.meaning == Meaning::changed) job.forget();
  if (end.meaning == Meaning::permission && secrets_.renew_token()) end.meaning = Meaning::busy;  // not its last word
  std::uint64_t gained = 0;
  if ((end.how == How::cut || end.how == How::timed_out) && end.meaning == Meaning::body) gained = job.keep(transfer);
  if (gained >= kSome) job.plan.brought_some();
  if (end.how == How::cut && gained > 0)
    breakers_[origin].abandoned();  // one connection that breaks cuts many short, and says little of the origin
  else
    note_health(origin, answered, end.text, now);
  job.plan.failed(origin, end.meaning, end.text, not_before);
  remove(job, transfer);
}

/// Whether an origin answers at all; it may be skipped for a while if not.
void FetchLoop::note_health(unsigned origin, bool answered, const std::string& text, Clock::time_point now) {
  const std::string name = origins_[origin].address.name();
  if (answered) {
    if (breakers_[origin].succeeded()) log::info("{}: answers again", name);
  } else if (const milliseconds skipped = breakers_[origin].failed(now); skipped.count() > 0) {
    log::warn("{} {}: not asked for {} ms, if there is another origin", name, text, skipped.count());
  }
}

void FetchLoop::deliver(FetchJob& job, Transfer& transfer, Clock::time_point now) {
  const unsigned origin = transfer.origin();
  note_health(origin, true, {}, now);
  delivered_by_.note(job.request.path, job.request.offset, origin);
  for (const auto& other : job.transfers)  // who was too slow while another one was not
    if (other->origin() != origin && now - other->silent_since() >= hedging_.patience())
      note_health(other->origin(), false, "is slow", now);
  job.join(transfer);
  assert(!job.request.size || job.body.size() == *job.request.size);
  std::string body = std::move(job.body);
  finish(job, std::move(body));
}

void FetchLoop::fail_job(FetchJob& job, Clock::time_point now) {
  finish(job, fail(job.plan.error(job.request.path, origins_, now - job.begun)));
}

void FetchLoop::finish(FetchJob& job, Result<std::string> result) {
  while (!job.transfers.empty()) {
    breakers_[job.transfers.back()->origin()].abandoned();
    remove(job, *job.transfers.back());
  }
  job.ended = true;
  finished_.push_back({job.done, std::move(result)});
}

void FetchLoop::remove(FetchJob& job, Transfer& transfer) {
  counts_.bytes += transfer.received();
  // A rate is held by what comes, not by what is asked for: what was asked for is taken already.
  const std::uint64_t known = job.request.size.value_or(0);
  if (job.request.urgency == Urgency::background && transfer.received() > known)
    background_.take(transfer.received() - known, Clock::now());
  curl_multi_remove_handle(multi_.get(), transfer.handle());
  std::erase_if(job.transfers, [&transfer](const auto& one) { return one.get() == &transfer; });
}

}  // namespace stellarium::cdn::http
