#pragma once
#include <atomic>
#include <unordered_set>

#include "base/mutex.h"
#include "cas/hash.h"

namespace stellarium::cas {

/// Chunks that the index knows and that could not be delivered when last asked for: a session that has their bytes
/// stores them again. Kept in memory only; fsck --repair finds them anew.
///
/// Cost:    where there are none, one relaxed load.
/// Threads: all functions may be called concurrently.
class DistrustedChunks {
 public:
  bool any() const { return any_.load(std::memory_order_relaxed); }
  bool contains(const ChunkId& id) const EXCLUDES(mutex_) {
    if (!any()) return false;
    const MutexLock lock{mutex_};
    return ids_.contains(id);
  }
  void add(const ChunkId& id) EXCLUDES(mutex_) {
    const MutexLock lock{mutex_};
    ids_.insert(id);
    any_ = true;
  }
  void remove(const ChunkId& id) EXCLUDES(mutex_) {
    const MutexLock lock{mutex_};
    ids_.erase(id);
    any_ = !ids_.empty();
  }

 private:
  mutable Mutex mutex_;
  std::unordered_set<ChunkId, HashOfHash> ids_ GUARDED_BY(mutex_);
  std::atomic<bool> any_ = false;
};

}  // namespace stellarium::cas
