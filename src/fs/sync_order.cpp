#include "fs/sync_order.h"

#include <algorithm>

namespace stellarium::fs {

void SyncOrder::enter() {
  MutexLock lock{mutex_};
  const auto until = std::chrono::steady_clock::now() + pause_;
  while (closed_ || (pause_ != Pause::zero() && std::chrono::steady_clock::now() < until)) {
    if (closed_) {
      lock.wait(changed_);
    } else {
      lock.wait_for(changed_, until - std::chrono::steady_clock::now());
    }
  }
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
    pause_ = Pause::zero();
    if (done) done_ = round;
  }
  changed_.notify_all();
}

void SyncOrder::hold_up(Pause each) {
  const MutexLock lock{mutex_};
  pause_ = each;
}

Result<void> SyncOrder::sync_most(const std::function<Result<std::size_t>()>& files) {
  std::size_t before = 0;
  Pause pause = Pause::zero();
  for (int step = 0; step < kMostSteps; ++step) {
    const Result<std::size_t> synced = files();
    if (!synced) return fail(synced.error());
    if (*synced <= kFew) break;
    if (step != 0 && *synced > before / 2) {
      pause = std::clamp(2 * pause, Pause{1}, kLongestPause);
      hold_up(pause);
    }
    before = *synced;
  }
  return {};
}

Result<void> SyncOrder::sync(const std::function<Result<std::size_t>()>& files,
                             const std::function<Result<void>()>& records) {
  std::uint64_t round = 0;
  {
    MutexLock lock{mutex_};
    const std::uint64_t before = begun_;  // a round that begins later covers what its caller has done so far
    while (running_ && done_ <= before) lock.wait(changed_);
    if (done_ > before) return {};
    running_ = true;
    round = ++begun_;
  }
  Result<void> synced = sync_most(files);
  if (synced) {
    close();
    const Result<std::size_t> rest = files();
    synced = rest ? records() : fail(rest.error());
  }
  finish(round, synced.has_value());
  return synced;
}

}  // namespace stellarium::fs
