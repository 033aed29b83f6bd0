#pragma once
#include <array>

#include "base/mutex.h"
#include "fs/fuse/node_id.h"
#include "fs/types.h"

namespace stellarium::fs::fuse {

/// Where the last listings ended. Every program asks once more behind the last entry, which would cost a seek.
///
/// Like NodeSet it forgets, and never goes stale. Threads: all functions may be called concurrently.
class ListingEnds {
 public:
  void insert(NodeId directory, DirCookie last) {
    const MutexLock lock{mutex_};
    places_[directory.value() % kPlaces] = {directory, last};
  }
  bool contains(NodeId directory, DirCookie last) {
    const MutexLock lock{mutex_};
    const End& place = places_[directory.value() % kPlaces];
    return place.directory == directory && place.last == last && last != 0;
  }

 private:
  static constexpr std::size_t kPlaces = 64;
  struct End {
    NodeId directory;
    DirCookie last = 0;
  };
  Mutex mutex_;
  std::array<End, kPlaces> places_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::fs::fuse
