#include "fs/fuse/wake_latency.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/log.h"

namespace stellarium::fs::fuse {
namespace {

// What the device takes: microseconds. The second is the kernel's own default (PM_QOS_CPU_LATENCY_DEFAULT_VALUE).
constexpr std::int32_t kNoSleep = 0;
constexpr std::int32_t kAsYouLike = 2'000'000'000;

}  // namespace

WakeLatency::WakeLatency(const std::filesystem::path& device) {
  const MutexLock lock{mutex_};
  device_ = UniqueFd{::open(device.c_str(), O_WRONLY | O_CLOEXEC)};
  if (!device_) {
    log::info("{} cannot be opened: waking a processor takes as long as it takes", device.string());
    return;
  }
  watcher_ = std::jthread{[this] {
    ::pthread_setname_np(::pthread_self(), "wake-latency");  // by itself: of others /proc would have to be written
    watch();
  }};
}

WakeLatency::~WakeLatency() {
  {
    const MutexLock lock{mutex_};
    ending_ = true;
  }
  changed_.notify_one();
}

void WakeLatency::served(Clock::time_point now) {
  const std::uint32_t requests = requests_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (limited() || requests < kStream) return;
  const bool soon = now - window_.load(std::memory_order_relaxed) <= kWindow;
  requests_.store(0, std::memory_order_relaxed);
  window_.store(now, std::memory_order_relaxed);
  if (soon) begin();
}

void WakeLatency::begin() {
  {
    const MutexLock lock{mutex_};
    if (!device_ || limited()) return;
    limit(kNoSleep, true);
  }
  changed_.notify_one();
}

void WakeLatency::watch() {
  MutexLock lock{mutex_};
  while (!ending_) {
    if (!limited()) {
      lock.wait(changed_);
      continue;
    }
    requests_.store(0, std::memory_order_relaxed);
    lock.wait_for(changed_, kWindow);
    if (ending_ || requests_.load(std::memory_order_relaxed) >= kStream) continue;
    limit(kAsYouLike, false);
  }
}

void WakeLatency::limit(std::int32_t microseconds, bool limited) {
  if (::write(device_.get(), &microseconds, sizeof microseconds) != sizeof microseconds) return;
  limited_.store(limited, std::memory_order_relaxed);
}

}  // namespace stellarium::fs::fuse
