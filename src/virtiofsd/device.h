#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "fs/fuse/session.h"
#include "virtiofsd/event_workers.h"
#include "virtiofsd/frontend_socket.h"
#include "virtiofsd/guest_memory.h"
#include "virtiofsd/guest_queue.h"
#include "virtiofsd/guest_reply.h"
#include "virtiofsd/window_channel.h"

namespace stellarium::virtiofsd {

/// A virtio-fs device for one virtual machine: what its monitor sets up over the socket, and the queues over which its
/// kernel talks FUSE.
///
/// Queue 0 is the one for requests that overtake others (FORGET), the rest are alike.
/// Life:    from the connection of a front-end to its end. A guest that starts anew, or mounts again, does so on the
///          same device.
/// Threads: `serve_frontend` by one at a time; everything else at any time.
class Device final : public GuestReply::Owner, public std::enable_shared_from_this<Device> {
 public:
  struct Options {
    std::string tag;  ///< 1 to 36 bytes: the name under which the guest mounts it
    /// Whether the front-end can ask for the tag. QEMU takes its own, and would warn.
    bool tells_tag = true;
    unsigned request_queues = 1;
    std::uint64_t dax_window = 0;  ///< bytes, a multiple of 2 MiB; 0: none
    /// The number of the feature "shared memory": front-ends from before mid-2026 have another one.
    unsigned shared_memory_bit = protocol::protocol_feature::kSharedMemoryBit;
  };
  static constexpr unsigned kMaxRequestQueues = 63;

  /// `window`: what the session maps into; null if the options say that there is none.
  static std::shared_ptr<Device> create(UniqueFd frontend, std::shared_ptr<fs::fuse::Session> session,
                                        const Options& options, std::shared_ptr<EventWorkers> workers,
                                        std::shared_ptr<WindowChannel> window);
  ~Device() override;

  int frontend() const { return frontend_.descriptor(); }
  /// Takes what the front-end has sent by now. False: it is gone, and the device is to end.
  bool serve_frontend() EXCLUDES(mutex_);
  /// Stops everything, for good. The front-end's memory is not touched any more afterwards.
  void end() EXCLUDES(mutex_);

 private:
  struct Queue {
    GuestQueue ring;
    // What the front-end sets up, under the device's lock.
    Virtqueue::Layout layout;
    UniqueFd kick;
    std::optional<EventWorkers::Id> watched;
  };
  /// The answer of a message that has one of its own.
  struct Payload {
    Payload(std::vector<std::byte> payload, UniqueFd beside = {})  // NOLINT: most have none
        : bytes{std::move(payload)}, descriptor{std::move(beside)} {}
    std::vector<std::byte> bytes;
    UniqueFd descriptor;
  };
  using Answer = std::optional<Payload>;

  Device(UniqueFd frontend, std::shared_ptr<fs::fuse::Session> session, const Options& options,
         std::shared_ptr<EventWorkers> workers, std::shared_ptr<WindowChannel> window);

  bool answer(FrontendMessage& message) REQUIRES(mutex_);
  Result<Answer> obey(FrontendMessage& message) REQUIRES(mutex_);
  Result<Answer> obey_about_queues(FrontendMessage& message) REQUIRES(mutex_);
  Result<Answer> get_config(const FrontendMessage& message) const;
  std::uint64_t offered_protocol_features() const;
  Result<Answer> get_inflight(const FrontendMessage& message) const;
  Result<void> set_inflight(FrontendMessage& message) REQUIRES(mutex_);
  Result<void> set_window_channel(FrontendMessage& message) REQUIRES(mutex_);
  Result<void> set_memory_table(FrontendMessage& message) REQUIRES(mutex_);
  Result<void> add_memory(FrontendMessage& message) REQUIRES(mutex_);
  Result<void> remove_memory(const FrontendMessage& message) REQUIRES(mutex_);
  Result<void> use_memory(GuestMemory memory) REQUIRES(mutex_);
  Result<void> set_descriptor(FrontendMessage& message) REQUIRES(mutex_);
  Result<Queue*> queue_at(std::uint64_t index);
  Result<void> start(Queue& queue, UniqueFd kick) REQUIRES(mutex_);
  std::uint16_t stop(Queue& queue) REQUIRES(mutex_);
  void stop_all() REQUIRES(mutex_);
  /// False: there is more, and it is another one's turn.
  bool serve(GuestQueue& queue, EventWorkers::Buffers buffers);
  void complain(const std::string& what);

  FrontendSocket frontend_;
  const std::shared_ptr<fs::fuse::Session> session_;
  const Options options_;
  const std::shared_ptr<EventWorkers> workers_;
  const std::shared_ptr<WindowChannel> window_;
  std::vector<std::unique_ptr<Queue>> queues_;  // as many for ever
  std::atomic<unsigned> complaints_ = 0;
  Mutex mutex_;  // of setting up, held while queues stop; requests are served without it
  bool ended_ GUARDED_BY(mutex_) = false;
  std::uint64_t features_ GUARDED_BY(mutex_) = 0, protocol_features_ GUARDED_BY(mutex_) = 0;
  GuestMemory memory_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::virtiofsd
