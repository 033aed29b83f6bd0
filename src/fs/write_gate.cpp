#include "fs/write_gate.h"

namespace stellarium::fs {

void WriteGate::enter() {
  MutexLock lock{mutex_};
  while (closed_) lock.wait(changed_);
  ++inside_;
}

void WriteGate::leave() {
  const MutexLock lock{mutex_};
  if (--inside_ == 0 && closed_) changed_.notify_all();
}

bool WriteGate::close(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  MutexLock lock{mutex_};
  closed_ = true;
  while (inside_ != 0 && std::chrono::steady_clock::now() < until) lock.wait_for(changed_, patience);
  return inside_ == 0;
}

void WriteGate::open() {
  {
    const MutexLock lock{mutex_};
    closed_ = false;
  }
  changed_.notify_all();
}

}  // namespace stellarium::fs
