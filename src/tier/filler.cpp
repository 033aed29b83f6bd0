#include "tier/filler.h"

#include "base/log.h"

#include <utility>

namespace stellarium::tier {

void Filler::fill(const ContentRef& content, FillJob::Done done) {
  const MutexLock lock{mutex_};
  Flight& flight = flights_[content.id];
  flight.waiting.push_back(std::move(done));
  if (flight.job) return;
  flight.job = std::make_shared<FillJob>(
      context_, content, [this, content](const Result<HotFilePtr>& result) { landed(content, result); });
  flight.job->start();
}

void Filler::landed(const ContentRef& content, const Result<HotFilePtr>& result) {
  if (result) {
    fills_.fetch_add(1, std::memory_order_relaxed);
    if (lacks_space_.exchange(false)) log::info("there is room for hot files again");
  } else if (result.error().code != Errc::cancelled) {
    failures_.fetch_add(1, std::memory_order_relaxed);
    const bool space = result.error().code == Errc::out_of_space;
    if (!space) {
      log::error("{}", to_string(result.error()));
    } else if (!lacks_space_.exchange(true)) {
      log::warn("no room for hot files, reading from compressed frames instead: {}", to_string(result.error()));
    }
  }
  Flight flight;
  {
    const MutexLock lock{mutex_};
    flight = std::move(flights_.extract(content.id).mapped());
  }
  for (const auto& done : flight.waiting) done(result);
}

std::optional<std::size_t> Filler::read_filled(const ContentRef& content, std::uint64_t offset, MutableByteSpan out) {
  std::shared_ptr<FillJob> job;
  {
    const MutexLock lock{mutex_};
    const auto flight = flights_.find(content.id);
    if (flight == flights_.end()) return std::nullopt;
    job = flight->second.job;
  }
  return job->read_filled(offset, out);
}

}  // namespace stellarium::tier
