#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "fs/fuse/parked_replies.h"
#include "fs/fuse/reply.h"
#include "virtiofsd/guest_queue.h"

namespace stellarium::virtiofsd {

/// The way back of one request: its answer goes into the buffers that the guest gave with it. A request that is never
/// answered (FORGET) is given back with nothing written when this ends.
class GuestReply final : public fs::fuse::ReplySink {
 public:
  /// What belongs to the device and must stay until the answer was given.
  struct Owner {
    virtual ~Owner() = default;
    fs::fuse::ParkedReplies parked;
  };
  GuestReply(std::shared_ptr<Owner> owner, GuestQueue& queue, GuestQueue::Taken taken)
      : owner_{std::move(owner)}, queue_{queue}, taken_{std::move(taken)} {}
  ~GuestReply() override;

  /// An answer that does not fit is EIO; ENOENT if there is no room for any or it was answered before.
  int send(std::uint64_t unique, int error, ByteSpan payload) override;
  std::vector<MutableByteSpan> room(std::size_t size) override;
  int send_filled(std::uint64_t unique, std::size_t size) override;
  fs::fuse::ParkedReplies& parked() override { return owner_->parked; }

 private:
  const std::shared_ptr<Owner> owner_;  // the queue is a part of it
  GuestQueue& queue_;
  const GuestQueue::Taken taken_;
  bool answered_ = false;
};

}  // namespace stellarium::virtiofsd
