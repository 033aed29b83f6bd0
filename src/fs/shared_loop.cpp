#include "fs/shared_loop.h"

#include <utility>

namespace stellarium::fs {

SharedLoop::~SharedLoop() {
  next_ = count_;
  {
    MutexLock lock{mutex_};
    ending_ = true;
  }
  changed_.notify_all();
  if (helper_.joinable()) helper_.join();
}

void SharedLoop::start(std::size_t count, Round round) {
  round_ = std::move(round);
  count_ = count;
  next_ = 0;
  if (count == 0) return;
  if (!helper_.joinable()) helper_ = std::thread{[this] { help(); }};
  {
    MutexLock lock{mutex_};
    open_ = true;
  }
  changed_.notify_all();
}

void SharedLoop::finish() {
  take_rounds();
  MutexLock lock{mutex_};
  open_ = false;  // a helper that wakes up only now finds nothing to do
  while (helping_) lock.wait(changed_);
}

void SharedLoop::take_rounds() {
  for (std::size_t at = next_++; at < count_; at = next_++) round_(at);
}

void SharedLoop::help() {
  for (;;) {
    {
      MutexLock lock{mutex_};
      while (!open_ && !ending_) lock.wait(changed_);
      if (ending_) return;
      open_ = false;
      helping_ = true;
    }
    take_rounds();
    {
      MutexLock lock{mutex_};
      helping_ = false;
    }
    changed_.notify_all();
  }
}

}  // namespace stellarium::fs
