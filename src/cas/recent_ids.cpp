#include "cas/recent_ids.h"

namespace stellarium::cas {

void RecentIds::add(const Hash& id) {
  MutexLock lock{mutex_};
  slots_[slot_of(id)] = id;
}

bool RecentIds::contains(const Hash& id) const {
  MutexLock lock{mutex_};
  return slots_[slot_of(id)] == id;
}

void RecentIds::remove(const Hash& id) {
  MutexLock lock{mutex_};
  if (slots_[slot_of(id)] == id) slots_[slot_of(id)].reset();
}

}  // namespace stellarium::cas
