#include "fs/fuse/waiting_writes.h"

#include <utility>

namespace stellarium::fs::fuse {
namespace {

constexpr auto kBetweenLooks = std::chrono::milliseconds{10};

}  // namespace

WaitingWrites::WaitingWrites(Headroom& headroom) : headroom_{headroom}, thread_{[this] { work(); }} {}

WaitingWrites::~WaitingWrites() {
  {
    const MutexLock lock{mutex_};
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool WaitingWrites::may_wait(std::size_t bytes) {
  if (!headroom_.may_be_relieved()) return false;
  const MutexLock lock{mutex_};
  return !ending_ && bytes_ + bytes <= kMostBytes;
}

void WaitingWrites::add(std::size_t bytes, std::function<void()> try_again) {
  {
    const MutexLock lock{mutex_};
    waiting_.push_back({bytes, std::chrono::steady_clock::now() + kPatience, std::move(try_again)});
    bytes_ += bytes;
  }
  changed_.notify_all();
}

std::list<WaitingWrites::Waiting> WaitingWrites::take_due(bool all) {
  const auto now = std::chrono::steady_clock::now();
  std::list<Waiting> due;
  const MutexLock lock{mutex_};
  while (!waiting_.empty() && (all || ending_ || waiting_.front().until <= now)) {
    bytes_ -= waiting_.front().bytes;
    due.splice(due.end(), waiting_, waiting_.begin());
  }
  return due;
}

bool WaitingWrites::sleep() {
  MutexLock lock{mutex_};
  if (ending_) return false;
  if (waiting_.empty()) {
    while (!ending_ && waiting_.empty()) lock.wait(changed_);
  } else {
    lock.wait_for(changed_, kBetweenLooks);
  }
  return !ending_;
}

void WaitingWrites::work() {
  for (bool more = true; more;) {
    more = sleep();
    const bool no_use = !headroom_.is_short() || !headroom_.may_be_relieved();
    for (const Waiting& one : take_due(no_use)) one.try_again();
  }
}

}  // namespace stellarium::fs::fuse
