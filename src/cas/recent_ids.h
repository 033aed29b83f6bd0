#pragma once
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "cas/hash.h"

namespace stellarium::cas {

/// Ids that were lately met: a cache of yes-answers in front of a slower look-up.
///
/// Method:  direct-mapped, one id a slot; a newer one takes the place of an older one.
/// Memory:  about 2 MiB.
/// Threads: all functions may be called concurrently.
class RecentIds {
 public:
  void add(const Hash& id) EXCLUDES(mutex_);
  bool contains(const Hash& id) const EXCLUDES(mutex_);
  void remove(const Hash& id) EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kSlots = 1u << 16;
  static std::size_t slot_of(const Hash& id) { return load_le<std::uint16_t>(id.bytes.data() + 24); }

  mutable Mutex mutex_;
  std::vector<std::optional<Hash>> slots_ GUARDED_BY(mutex_) = std::vector<std::optional<Hash>>(kSlots);
};

}  // namespace stellarium::cas
