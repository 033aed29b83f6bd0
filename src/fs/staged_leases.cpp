#include "fs/staged_leases.h"

#include "base/log.h"

namespace stellarium::fs {

std::shared_ptr<const void> StagedLeases::take() {
  const MutexLock lock{mutex_};
  ++leases_;
  return {this, [this](const void*) { end(); }};
}

void StagedLeases::end() {
  std::vector<StagedId> free;
  {
    const MutexLock lock{mutex_};
    if (--leases_ == 0) free.swap(waiting_);
  }
  remove_all(free);
}

void StagedLeases::remove_when_free(std::vector<StagedId> files) {
  {
    const MutexLock lock{mutex_};
    if (leases_ != 0) {
      waiting_.insert(waiting_.end(), files.begin(), files.end());
      return;
    }
  }
  remove_all(files);
}

void StagedLeases::remove_all(const std::vector<StagedId>& files) const {
  for (const StagedId id : files) {
    if (auto removed = remove_(id); !removed) log::warn("a settled file stays: {}", to_string(removed.error()));
  }
}

}  // namespace stellarium::fs
