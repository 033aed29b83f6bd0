#include "fs/unsynced_inodes.h"

#include <algorithm>

namespace stellarium::fs {

void UnsyncedInodes::changing(Ino ino) {
  const std::uint64_t durable = database_.durable();
  const MutexLock lock{mutex_};
  if (changes_.size() >= kMost) make_room(durable);
  ++changes_[ino].under_way;
}

void UnsyncedInodes::changed(Ino ino) {
  const std::uint64_t number = database_.written();
  const MutexLock lock{mutex_};
  Change& change = changes_[ino];
  change.number = std::max(change.number, number);
  --change.under_way;
}

bool UnsyncedInodes::contains(Ino ino) const {
  const std::uint64_t durable = database_.durable();
  const MutexLock lock{mutex_};
  if (holds_ != 0 || floor_ > durable) return true;
  const auto found = changes_.find(ino);
  return found != changes_.end() && (found->second.under_way != 0 || found->second.number > durable);
}

void UnsyncedInodes::make_room(std::uint64_t durable) {
  std::erase_if(changes_,
                [&](const auto& entry) { return entry.second.under_way == 0 && entry.second.number <= durable; });
  if (changes_.size() < kMost) return;
  for (const auto& [ino, change] : changes_) floor_ = std::max(floor_, change.number);
  std::erase_if(changes_, [](const auto& entry) { return entry.second.under_way == 0; });
}

UnsyncedInodes::Hold::Hold(UnsyncedInodes& inodes) : inodes_{inodes} {
  const MutexLock lock{inodes_.mutex_};
  ++inodes_.holds_;
}

UnsyncedInodes::Hold::~Hold() {
  const std::uint64_t number = inodes_.database_.written();
  const MutexLock lock{inodes_.mutex_};
  inodes_.floor_ = std::max(inodes_.floor_, number);
  --inodes_.holds_;
}

}  // namespace stellarium::fs
