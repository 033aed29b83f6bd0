#include "fs/shared_loop.h"

namespace stellarium::fs {

SharedLoop::~SharedLoop() {
  {
    MutexLock lock{mutex_};
    ending_ = true;
  }
  changed_.notify_all();
  if (helper_.joinable()) helper_.join();
}

void SharedLoop::run(std::size_t count, const Round& round) {
  if (count > 1 && !helper_.joinable()) helper_ = std::thread{[this] { help(); }};
  {
    MutexLock lock{mutex_};
    next_ = 0;
    count_ = count;
    round_ = count > 1 ? &round : nullptr;
  }
  if (count > 1) changed_.notify_all();
  take_rounds(count, round);
  MutexLock lock{mutex_};
  round_ = nullptr;  // a helper that wakes up only now finds nothing to do
  while (helping_) lock.wait(changed_);
}

void SharedLoop::take_rounds(std::size_t count, const Round& round) {
  for (std::size_t at = next_++; at < count; at = next_++) round(at);
}

void SharedLoop::help() {
  for (;;) {
    const Round* round = nullptr;
    std::size_t count = 0;
    {
      MutexLock lock{mutex_};
      while (round_ == nullptr && !ending_) lock.wait(changed_);
      if (ending_) return;
      round = round_;
      count = count_;
      helping_ = true;
    }
    take_rounds(count, *round);
    {
      MutexLock lock{mutex_};
      helping_ = false;
      if (round_ == round) round_ = nullptr;  // all rounds are taken
    }
    changed_.notify_all();
  }
}

}  // namespace stellarium::fs
