#include "cdn/frame_fetcher.h"

#include <algorithm>

#include "cas/frame_format.h"
#include "cdn/latch.h"

namespace stellarium::cdn {
namespace {

std::string range_text(const WantedRange& range) {
  return range.path + ", bytes " + std::to_string(range.offset()) + " to " +
         std::to_string(range.offset() + range.size() - 1);
}

}  // namespace

Result<std::shared_ptr<const cas::DecodedFrame>> decode_wanted(ByteSpan container, const WantedFrame& wanted,
                                                               cas::Decompressor& decompressor) {
  const auto view = cas::parse_frame(container);
  if (!view) return fail(view.error());
  const auto& entries = view->index.entries;
  const bool as_wanted = std::ranges::equal(entries, wanted.chunks, [](const auto& entry, const auto& chunk) {
    return entry.id == chunk.id && entry.size == chunk.size;
  });
  if (!as_wanted) return fail(Errc::corrupt, "a frame with other chunks than the index says");
  auto frame = cas::decode_frame(*view, decompressor);
  if (!frame) return fail(std::move(frame).error());
  return std::make_shared<const cas::DecodedFrame>(*std::move(frame));
}

FrameFetcher::FrameFetcher(ObjectReader& reader, const Options& options)
    : reader_{reader}, options_{options}, workers_{std::max(1u, options.workers)} {}

FrameFetcher::~FrameFetcher() = default;

FrameFetcher::FlightPtr FrameFetcher::start(const WantedRange& range, unsigned distrusted) {
  auto flight = std::make_shared<Flight>();
  reader_.fetch({.path = range.path,
                 .offset = range.offset(),
                 .size = range.size(),
                 .urgency = options_.urgency,
                 .distrusted = distrusted},
                [flight, landing = landing_](Result<std::string> bytes) {
                  const MutexLock lock{landing->mutex};
                  flight->landed = std::move(bytes);
                  landing->landed.notify_all();
                });
  return flight;
}

Result<std::string> FrameFetcher::wait_for(const FlightPtr& flight) {
  MutexLock lock{landing_->mutex};
  while (!flight->landed) lock.wait(landing_->landed);
  return *std::move(flight->landed);
}

Result<std::vector<std::shared_ptr<const cas::DecodedFrame>>> FrameFetcher::decode(const WantedRange& range,
                                                                                   const std::string& bytes) {
  using Decoded = Result<std::shared_ptr<const cas::DecodedFrame>>;
  std::vector<std::optional<Decoded>> results(range.frames.size());
  Latch latch{range.frames.size()};
  for (std::size_t at = 0; at < range.frames.size(); ++at) {
    workers_.submit([&, at] {
      const WantedFrame& wanted = range.frames[at];
      results[at] =
          decode_wanted(as_bytes(bytes).subspan(wanted.offset - range.offset(), wanted.stored), wanted, decompressor_);
      latch.count_down();
    });
  }
  latch.wait();
  std::vector<std::shared_ptr<const cas::DecodedFrame>> frames;
  for (auto& result : results) {
    Decoded& decoded = result.value();
    if (!decoded) return fail(std::move(decoded).error());
    frames.push_back(*std::move(decoded));
  }
  return frames;
}

Result<void> FrameFetcher::take_range(const WantedRange& range, FlightPtr flight, const Take& take) {
  for (unsigned distrusted = 0;; ++distrusted) {
    if (distrusted != 0) flight = start(range, distrusted);
    const auto bytes = wait_for(flight);
    if (!bytes) return fail(bytes.error(), range_text(range));
    if (bytes->size() != range.size()) return fail(Errc::unavailable, range_text(range) + ": another size came");
    const auto frames = decode(range, *bytes);
    if (!frames && distrusted < kMaxDistrust) continue;
    if (!frames) return fail(frames.error(), range_text(range));
    for (std::size_t at = 0; at < frames->size(); ++at) {
      const WantedFrame& wanted = range.frames[at];
      const ByteSpan container = as_bytes(*bytes).subspan(wanted.offset - range.offset(), wanted.stored);
      if (auto taken = take({container, (*frames)[at]}); !taken) return taken;
    }
    return {};
  }
}

Result<void> FrameFetcher::fetch(const std::vector<WantedRange>& ranges, const Take& take) {
  std::deque<FlightPtr> flights;
  std::size_t started = 0;
  std::uint64_t in_flight = 0;
  for (std::size_t at = 0; at < ranges.size(); ++at) {
    while (started < ranges.size() && flights.size() < options_.parallel &&
           (flights.empty() || in_flight + ranges[started].size() <= options_.most_in_flight)) {
      in_flight += ranges[started].size();
      flights.push_back(start(ranges[started++], 0));
    }
    FlightPtr next = std::move(flights.front());
    flights.pop_front();
    if (auto taken = take_range(ranges[at], std::move(next), take); !taken) return taken;
    in_flight -= ranges[at].size();
  }
  return {};
}

}  // namespace stellarium::cdn
