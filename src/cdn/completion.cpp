#include "cdn/completion.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"

namespace stellarium::cdn {

using Clock = std::chrono::steady_clock;
namespace {

constexpr std::uint64_t kSmallRange = 256u << 10;  // bytes: 20 ms of a line of 100 Mbit/s

}  // namespace

Result<std::uint64_t> complete(LazyContents& lazy, cas::ContentStore& store, const LazyContents::ImagePtr& image,
                               ObjectReader& reader, Urgency urgency, const FetchProgress& progress) {
  FrameFetcher::Options options;
  options.urgency = urgency;
  if (urgency == Urgency::background) {  // others want the line, the memory and the processors
    options.parallel = 2;
    options.workers = 1;
  }
  FrameFetcher fetcher{reader, options};
  const auto session = store.begin_session();
  const std::uint64_t most = urgency == Urgency::background ? kSmallRange : kMaxRange;
  const auto fetched = fetch_all(store, *session, fetcher, image->manifest(), image->parsed(), progress, most);
  if (!fetched) return fetched;
  if (auto committed = session->commit(); !committed) return fail(std::move(committed).error());
  if (auto removed = lazy.remove(image->layer()); !removed) return fail(std::move(removed).error());
  return fetched;
}

Completion::Completion(LazyContents& lazy, cas::ContentStore& store, const Options& options)
    : lazy_{lazy}, store_{store}, options_{options}, thread_{[this] { run(); }} {}

Completion::~Completion() {
  {
    const MutexLock lock{mutex_};
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Completion::wake() {
  {
    const MutexLock lock{mutex_};
    woken_ = true;
  }
  changed_.notify_all();
}

bool Completion::rest(std::chrono::milliseconds time) {
  const auto end = Clock::now() + time;
  MutexLock lock{mutex_};
  while (!stopping_ && Clock::now() < end) lock.wait_for(changed_, end - Clock::now());
  return !stopping_;
}

bool Completion::rest_until_quiet() {
  while (true) {
    const auto left = options_.quiet - lazy_.quiet_for();
    if (left <= std::chrono::milliseconds{0}) return rest(left);
    if (!rest(left)) return false;
  }
}

/// Whether there is more to do, which includes what failed.
bool Completion::complete_next() {
  const auto images = lazy_.images();
  const auto next = std::ranges::find_if(images, [](const auto& image) { return image->completes(); });
  if (next == images.end()) return false;
  if (!rest_until_quiet()) return false;
  const auto began = Clock::now();
  const auto go_on = [&](std::uint64_t fetched, std::uint64_t) {
    if (!rest_until_quiet()) return false;
    if (options_.rate == 0) return true;
    const auto due = began + std::chrono::milliseconds{fetched * 1000 / options_.rate};
    return rest(
        std::max(std::chrono::milliseconds{0}, std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now())));
  };
  const auto reader = lazy_.reader_of((*next)->remote());
  const auto done = reader ? complete(lazy_, store_, *next, **reader, Urgency::background, go_on)
                           : Result<std::uint64_t>{fail(reader.error())};
  if (done) {
    log::info("a lazy image of remote {} is complete", (*next)->remote());
    return true;
  }
  if (done.error().code != Errc::cancelled)
    log::warn("a lazy image of remote {} is not complete yet: {}", (*next)->remote(), to_string(done.error()));
  return false;
}

void Completion::run() {
  auto pause = std::chrono::milliseconds{options_.first_pause};
  while (true) {
    {
      MutexLock lock{mutex_};
      while (!stopping_ && !woken_) lock.wait(changed_);
      if (stopping_) return;
      woken_ = false;
    }
    while (complete_next()) pause = options_.first_pause;
    const auto images = lazy_.images();
    if (std::ranges::none_of(images, [](const auto& image) { return image->completes(); })) continue;
    if (!rest(pause)) return;
    pause = std::min<std::chrono::milliseconds>(pause * 2, options_.longest_pause);
    wake();
  }
}

}  // namespace stellarium::cdn
