#include "tier/readahead.h"

#include <algorithm>

namespace stellarium::tier {

std::optional<Readahead::Range> Readahead::note(const ContentRef& content, std::uint64_t begin, std::uint64_t end) {
  const MutexLock lock{mutex_};
  const auto found = index_.find(content.id);
  if (found == index_.end()) {
    streams_.push_front({content.id, end, end});
    index_.emplace(content.id, streams_.begin());
    if (streams_.size() > kStreams) {
      index_.erase(streams_.back().id);
      streams_.pop_back();
    }
    return std::nullopt;
  }
  streams_.splice(streams_.begin(), streams_, found->second);
  Stream& stream = streams_.front();
  const bool in_order = begin <= stream.next + kSlack && stream.next <= begin + kSlack;
  if (!in_order) {
    stream = {content.id, end, end};
    return std::nullopt;
  }
  stream.next = std::max(stream.next, end);
  stream.ahead = std::max(stream.ahead, stream.next);
  // A new window only once half of the old one is used up, so that a window is worth a task.
  if (stream.ahead >= stream.next + kWindow / 2) return std::nullopt;
  const Range range{stream.ahead, std::min(stream.next + kWindow, content.size)};
  if (range.begin >= range.end) return std::nullopt;
  stream.ahead = range.end;
  return range;
}

}  // namespace stellarium::tier
