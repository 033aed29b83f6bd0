#pragma once
#include <cstddef>

#include "base/large_bytes.h"
#include "base/mutex.h"
#include "cas/hash.h"

namespace stellarium::cas {

/// Ids that were lately met: a cache of yes-answers in front of a slower look-up.
///
/// Method:  direct-mapped, one id a slot; a newer one takes the place of an older one.
/// Memory:  2 MiB, none before the first.
/// Threads: all functions may be called concurrently.
class RecentIds {
 public:
  void add(const Hash& id) EXCLUDES(mutex_);
  bool contains(const Hash& id) const EXCLUDES(mutex_);
  void remove(const Hash& id) EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kSlots = 1u << 16;
  Hash& slot_of(const Hash& id) const REQUIRES(mutex_);

  mutable Mutex mutex_;
  LargeBytes slots_ GUARDED_BY(mutex_){kSlots * sizeof(Hash)};  // zeros: nothing, since no content has that id
};

}  // namespace stellarium::cas
