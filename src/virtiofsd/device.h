#pragma once
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

namespace stellarium::virtiofsd {

/// A virtio-fs device for one virtual machine: what its monitor sets up over the socket, and the queues over which its
/// kernel talks FUSE.
///
/// Queue 0 is the one for requests that overtake others (FORGET), the rest are alike.
/// Life:    from the connection of a front-end to its end. A guest that starts anew, or mounts again, does so on the
///          same device.
/// Threads: `serve_frontend` one at a time; the queues, which the workers serve, at any time.
class Device final : public GuestReply::Owner, public std::enable_shared_from_this<Device> {
 public:
  struct Options {
    std::string tag;  ///< 1 to 36 bytes: the name under which the guest mounts it
    unsigned request_queues = 1;
  };
  static constexpr unsigned kMaxRequestQueues = 63;

  /// `workers` is borrowed.
  static std::shared_ptr<Device> create(UniqueFd frontend, std::shared_ptr<fs::fuse::Session> session,
                                        const Options& options, EventWorkers& workers);
  ~Device() override;

  int frontend() const { return frontend_.descriptor(); }
  /// Takes what the front-end has sent by now. False: it is gone, and the device is to end.
  bool serve_frontend();
  /// Stops everything. The front-end's memory is not touched any more afterwards.
  void end();

 private:
  struct Queue {
    GuestQueue ring;
    Virtqueue::Layout layout;  // as it is being set up
    UniqueFd kick;
    std::optional<EventWorkers::Id> watched;
  };
  /// The answer of a message that has one of its own.
  using Answer = std::optional<std::vector<std::byte>>;

  Device(UniqueFd frontend, std::shared_ptr<fs::fuse::Session> session, const Options& options, EventWorkers& workers);

  Result<Answer> obey(FrontendMessage& message);
  Result<Answer> obey_about_queues(FrontendMessage& message);
  Result<Answer> get_config(const FrontendMessage& message) const;
  Result<void> set_memory_table(FrontendMessage& message);
  Result<void> add_memory(FrontendMessage& message);
  Result<void> remove_memory(const FrontendMessage& message);
  Result<void> use_memory(GuestMemory memory);
  Result<void> set_descriptor(FrontendMessage& message);
  Result<Queue*> queue_at(std::uint64_t index);
  Result<void> start(Queue& queue, UniqueFd kick);
  std::uint16_t stop(Queue& queue);
  void serve(GuestQueue& queue, EventWorkers::Buffers buffers);

  FrontendSocket frontend_;
  const std::shared_ptr<fs::fuse::Session> session_;
  const Options options_;
  EventWorkers& workers_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::uint64_t features_ = 0, protocol_features_ = 0;
  GuestMemory memory_;
};

}  // namespace stellarium::virtiofsd
