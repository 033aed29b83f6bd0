#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "fs/fuse/node_id.h"
#include "fs/types.h"

namespace stellarium::fs::fuse {

/// The listing that a walk over a tree will ask for next, laid out while the walk looks at the one before.
///
/// `find`, `tar`, `du` and `cp -r` list a directory, then each directory in it before those behind it. A walk is
/// recognised by its second such step, and given up at the first other one. Nothing is remembered that could change:
/// for sealed trees only.
/// Threads: all functions may be called concurrently.
/// Memory:  kMaxFolders numbers and one listing of at most kMaxSize, for each mount.
class ListingAhead {
 public:
  static constexpr std::size_t kMaxFolders = 4096;
  static constexpr std::uint32_t kMaxSize = 64u << 10;  ///< of a reply; the C library asks for 32 KiB

  struct Listing {
    NodeId directory;
    std::uint32_t size = 0;         ///< of the reply that it was laid out for
    std::string payload;            ///< READDIRPLUS from the beginning
    std::optional<DirCookie> last;  ///< behind the last entry if all fitted
    std::vector<NodeId> folders;    ///< among the entries, in their order
  };

  /// A program was shown a directory from its beginning.
  void listed(NodeId directory, std::span<const NodeId> folders) {
    const MutexLock lock{mutex_};
    const bool expected = !ahead_.empty() && ahead_.back() == directory;
    if (expected) {
      ahead_.pop_back();
    } else {
      ahead_.clear();
    }
    walking_ = expected;
    if (ahead_.size() + folders.size() > kMaxFolders) return ahead_.clear();
    ahead_.insert(ahead_.end(), folders.rbegin(), folders.rend());
  }
  /// The directory that should be laid out now for a reply of that size, if a walk is under way and it is not yet.
  std::optional<NodeId> next(std::uint32_t size) {
    const MutexLock lock{mutex_};
    if (!walking_ || size > kMaxSize || ahead_.empty() || ready_.directory == ahead_.back()) return std::nullopt;
    return ahead_.back();
  }
  void keep(Listing listing) {
    const MutexLock lock{mutex_};
    ready_ = std::move(listing);
  }
  /// What was kept for this question; it is asked once.
  std::optional<Listing> take(NodeId directory, std::uint32_t size) {
    const MutexLock lock{mutex_};
    if (ready_.directory != directory || ready_.size != size || directory == NodeId{}) return std::nullopt;
    return std::exchange(ready_, {});
  }

 private:
  Mutex mutex_;
  bool walking_ GUARDED_BY(mutex_) = false;
  std::vector<NodeId> ahead_ GUARDED_BY(mutex_);  // the next one last
  Listing ready_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::fs::fuse
