#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "virtiofsd/inflight.h"
#include "virtiofsd/virtqueue.h"

namespace stellarium::virtiofsd {

/// A queue as the front-end sets it up, starts and stops it, with what was taken from it and not yet given back.
///
/// It runs while it is started (it has addresses and a kick) and enabled. When it is stopped, what is still being
/// served is waited for; what takes too long is never given back, so the guest's memory is left alone afterwards.
/// Threads: all functions may be called concurrently.
class GuestQueue {
 public:
  /// What is set while it stands still; it takes effect when it starts.
  void set_layout(const Virtqueue::Layout& layout) EXCLUDES(mutex_);
  Virtqueue::Layout layout() const EXCLUDES(mutex_);
  void set_call(UniqueFd eventfd) EXCLUDES(mutex_);
  /// Another table of the guest's memory. A queue that does not lie in it stops. Errors: invalid_argument.
  [[nodiscard]] Result<void> set_memory(std::shared_ptr<const GuestMemory> memory) EXCLUDES(mutex_);

  /// Where it notes what it has in hand, from its next start on; it begins with what is noted there. Nothing: nowhere.
  void set_inflight(std::optional<InflightQueue> inflight) EXCLUDES(mutex_);

  /// Errors: invalid_argument (a layout that cannot be).
  [[nodiscard]] Result<void> start() EXCLUDES(mutex_);
  void enable(bool enabled) EXCLUDES(mutex_);
  /// Returns where the next start is to go on.
  std::uint16_t stop() EXCLUDES(mutex_);

  /// A request of the guest, to be given back once.
  struct Taken {
    DescriptorChain chain;
    std::shared_ptr<const GuestMemory> memory;  ///< keeps what the chain points to
    std::uint64_t run = 0;
    bool again = false;  ///< a device before had it in hand, and may have done it
  };
  /// The next one. Nothing: the guest was asked to kick when there is one, or it does not run, or it is broken.
  std::optional<Taken> take() EXCLUDES(mutex_);
  void give_back(const Taken& taken, std::uint32_t written) EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::condition_variable given_back_;
  std::shared_ptr<const GuestMemory> memory_ GUARDED_BY(mutex_);
  Virtqueue::Layout layout_ GUARDED_BY(mutex_);
  std::optional<Virtqueue> queue_ GUARDED_BY(mutex_);  // nothing: it is stopped
  std::optional<InflightQueue> inflight_ GUARDED_BY(mutex_);
  std::deque<std::uint16_t> taken_over_ GUARDED_BY(mutex_);  // heads that a device before had in hand
  UniqueFd call_ GUARDED_BY(mutex_);
  bool enabled_ GUARDED_BY(mutex_) = false;
  bool broken_ GUARDED_BY(mutex_) = false;
  std::uint64_t run_ GUARDED_BY(mutex_) = 0;  // since when it runs without a stop
  std::uint64_t taken_ GUARDED_BY(mutex_) = 0;
};

}  // namespace stellarium::virtiofsd
