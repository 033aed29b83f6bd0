#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "fs/fuse/dax_window.h"
#include "virtiofsd/event_workers.h"
#include "virtiofsd/protocol.h"

namespace stellarium::virtiofsd {

/// The DAX window of one machine: asks its front-end to map and to unmap, one request at a time.
///
/// A front-end that does not answer within 10 seconds, or answers something else, is not asked again.
class WindowChannel final : public fs::fuse::DaxWindow {
 public:
  WindowChannel(std::uint64_t size, std::shared_ptr<EventWorkers> workers)
      : size_{size}, workers_{std::move(workers)} {}

  /// The channel of a device that was just activated: what was mapped before is gone. Without one nothing can be.
  void set_channel(UniqueFd socket) EXCLUDES(mutex_);

  std::uint64_t size() const override { return size_; }
  std::uint64_t life() const override { return life_; }
  [[nodiscard]] Result<void> map(std::uint64_t place, int fd, std::uint64_t offset, std::uint64_t length) override
      EXCLUDES(mutex_);
  [[nodiscard]] Result<void> unmap(std::uint64_t place, std::uint64_t length) override EXCLUDES(mutex_);
  void post(std::function<void()> work) override { workers_->post(std::move(work)); }

 private:
  Result<void> ask(protocol::BackendRequest request, const protocol::SharedMemoryMap& what, int fd) EXCLUDES(mutex_);

  const std::uint64_t size_;
  const std::shared_ptr<EventWorkers> workers_;
  std::atomic<std::uint64_t> life_ = 0;
  Mutex mutex_;  // one request at a time
  UniqueFd socket_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::virtiofsd
