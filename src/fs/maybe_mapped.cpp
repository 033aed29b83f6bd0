#include "fs/maybe_mapped.h"

namespace stellarium::fs {

void MaybeMapped::add(Ino ino) {
  const MutexLock lock{mutex_};
  marks_[ino] = ++last_mark_;
}

void MaybeMapped::forget(Ino ino) {
  const MutexLock lock{mutex_};
  marks_.erase(ino);
}

std::uint64_t MaybeMapped::mark(Ino ino) const {
  const MutexLock lock{mutex_};
  const auto found = marks_.find(ino);
  return found == marks_.end() ? 0 : found->second;
}

void MaybeMapped::strike(Ino ino, std::uint64_t mark) {
  const MutexLock lock{mutex_};
  if (const auto found = marks_.find(ino); found != marks_.end() && found->second == mark) marks_.erase(found);
}

std::vector<Ino> MaybeMapped::list() const {
  const MutexLock lock{mutex_};
  std::vector<Ino> inodes;
  inodes.reserve(marks_.size());
  for (const auto& [ino, mark] : marks_) inodes.push_back(ino);
  return inodes;
}

bool MaybeMapped::incomplete() const {
  const MutexLock lock{mutex_};
  return incomplete_;
}

void MaybeMapped::set_incomplete(bool incomplete) {
  const MutexLock lock{mutex_};
  incomplete_ = incomplete;
}

}  // namespace stellarium::fs
