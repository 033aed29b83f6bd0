#include "cas/recent_ids.h"

namespace stellarium::cas {

Hash& RecentIds::slot_of(const Hash& id) const {
  return reinterpret_cast<Hash*>(slots_.data())[load_le<std::uint16_t>(id.bytes.data() + 24)];
}

void RecentIds::add(const Hash& id) {
  MutexLock lock{mutex_};
  slot_of(id) = id;
}

bool RecentIds::contains(const Hash& id) const {
  MutexLock lock{mutex_};
  return slot_of(id) == id && id != Hash{};
}

void RecentIds::remove(const Hash& id) {
  MutexLock lock{mutex_};
  if (slot_of(id) == id) slot_of(id) = Hash{};
}

}  // namespace stellarium::cas
