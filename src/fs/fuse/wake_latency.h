#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <thread>

#include "base/mutex.h"
#include "base/unique_fd.h"

namespace stellarium::fs::fuse {

/// Keeps idle processors awake while programs wait for one answer after the other.
///
/// A program that opens file after file sleeps until each answer, and its worker until each request, so both processors
/// fall idle tens of thousands of times a second. Waking one costs 1 to 100 µs where it had gone to a deep idle state,
/// and about 40 µs in a virtual machine whose idle processors are given back to the host: several times what the
/// request itself takes. The kernel's answer is a latency limit ("PM Quality of Service", /dev/cpu_dma_latency): while
/// a process asks for 0 µs, idle processors poll. We ask for it only during a stream of requests and take it back
/// within milliseconds after its end, so an idle host stays idle.
///
/// Threads: all functions may be called concurrently; `served` takes a lock only at the beginning of a stream. A thread
///          of its own watches for the end: a timer for each wait of a worker would cost more than the request.
/// Cost:    a relaxed addition for each request; two writes to the device for each stream.
/// Errors:  none. Without the device (no privilege, a container) nothing is limited.
class WakeLatency {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kWindow{2};
  static constexpr std::uint32_t kStream = 16;  ///< requests within kWindow that make a stream

  explicit WakeLatency(const std::filesystem::path& device = "/dev/cpu_dma_latency");
  ~WakeLatency();

  /// A request was served.
  void served(Clock::time_point now);
  bool limited() const { return limited_.load(std::memory_order_relaxed); }  ///< a stream is under way

 private:
  void watch();
  void begin();
  void limit(std::int32_t microseconds, bool limited) REQUIRES(mutex_);

  std::atomic<std::uint32_t> requests_ = 0;  ///< since `window_`
  std::atomic<Clock::time_point> window_{};
  std::atomic<bool> limited_ = false;
  Mutex mutex_;
  std::condition_variable changed_;
  bool ending_ GUARDED_BY(mutex_) = false;
  UniqueFd device_ GUARDED_BY(mutex_);
  std::jthread watcher_;
};

}  // namespace stellarium::fs::fuse
