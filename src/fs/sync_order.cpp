#include "fs/sync_order.h"

namespace stellarium::fs {

void SyncOrder::enter() {
  MutexLock lock{mutex_};
  while (closed_) lock.wait(changed_);
  ++changes_;
}

void SyncOrder::leave() {
  const MutexLock lock{mutex_};
  if (--changes_ == 0 && closed_) changed_.notify_all();
}

void SyncOrder::close() {
  MutexLock lock{mutex_};
  closed_ = true;
  while (changes_ != 0) lock.wait(changed_);
}

void SyncOrder::finish(std::uint64_t round, bool done) {
  {
    const MutexLock lock{mutex_};
    closed_ = running_ = false;
    if (done) done_ = round;
  }
  changed_.notify_all();
}

Result<void> SyncOrder::sync(const std::function<Result<void>()>& files, const std::function<Result<void>()>& records) {
  std::uint64_t round = 0;
  {
    MutexLock lock{mutex_};
    const std::uint64_t before = begun_;  // a round that begins later covers what its caller has done so far
    while (running_ && done_ <= before) lock.wait(changed_);
    if (done_ > before) return {};
    running_ = true;
    round = ++begun_;
  }
  Result<void> synced = files();
  if (synced) {
    close();
    synced = files();
    if (synced) synced = records();
  }
  finish(round, synced.has_value());
  return synced;
}

}  // namespace stellarium::fs
