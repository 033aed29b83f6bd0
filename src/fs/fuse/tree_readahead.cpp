#include "fs/fuse/tree_readahead.h"

#include <algorithm>

namespace stellarium::fs::fuse {

std::optional<TreeReadahead::Range> TreeReadahead::note(TreeId tree, Ino ino, bool missed) {
  const MutexLock lock{mutex_};
  const auto found = std::ranges::find_if(streams_, [&](const Stream& stream) {
    return stream.tree == tree && ino + kSlack >= stream.next && ino <= stream.ahead + kSlack;
  });
  if (found == streams_.end()) {
    if (!missed) return std::nullopt;
    streams_.push_front({tree, ino + 1, ino + 1});
    if (streams_.size() > kStreams) streams_.pop_back();
    return std::nullopt;
  }
  streams_.splice(streams_.begin(), streams_, found);
  Stream& stream = streams_.front();
  stream.next = std::max(stream.next, ino + 1);
  stream.ahead = std::max(stream.ahead, stream.next);
  // A new window only once half of the old one is used up, so that a window is worth a scan.
  if (stream.ahead >= stream.next + kWindow / 2) return std::nullopt;
  const Range range{stream.ahead, stream.next + kWindow};
  stream.ahead = range.end;
  return range;
}

void TreeReadahead::was_useless(TreeId tree, Range range) {
  const MutexLock lock{mutex_};
  streams_.remove_if([&](const Stream& stream) { return stream.tree == tree && stream.ahead == range.end; });
}

}  // namespace stellarium::fs::fuse
