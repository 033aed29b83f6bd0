#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "fs/fuse/abi.h"
#include "fs/fuse/node_id.h"

namespace stellarium::fs::fuse {

class ParkedReplies;

/// Where answers go: the write side of a transport.
/// Threads: `send` may be called concurrently, and from threads that did not receive the request.
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  /// Sends one answer: `error` is 0 or a positive errno. The payload must lie in resident memory: the kernel turns a
  /// page fault of a dying server into EIO for the program that waits.
  /// Returns 0, or the errno of the transport; ENOENT means that nobody waits for this answer any more.
  virtual int send(std::uint64_t unique, int error, ByteSpan payload) = 0;
  /// Where the first `size` bytes of the payload will lie, whole or not at all: nothing if the transport does not know.
  /// They may be filled in before they are sent, by `send_filled`.
  virtual std::vector<MutableByteSpan> room(std::size_t size);
  virtual int send_filled(std::uint64_t unique, std::size_t size);
  /// Puts the bytes of a whole file into the kernel's page cache (FUSE_NOTIFY_STORE). Only for a file that nobody can
  /// be reading (OpenedNodes). A transport may do nothing, and a failure costs a READ later: there is no result.
  virtual void store(NodeId node, ByteSpan content);
  /// The replies of this connection that wait for something slow.
  virtual ParkedReplies& parked() = 0;
};

/// The duty to answer one request, exactly once. Movable, so that a request that has to wait (a cold miss) is parked
/// with whoever answers it and no worker waits along. One that is dropped unanswered answers EIO: nothing hangs.
///
/// Keeps the sink, and what belongs to it (connection, view, handle table), alive until it is destroyed, not only until
/// it is answered: who answers a parked request may still have to note that it was.
class Reply {
 public:
  /// `scratch` is resident memory of the receiving worker: room for a payload until the call of the operation returns.
  /// `answered_bytes` counts payloads and, as all that belongs to the sink, stays as long as that; null: nobody counts.
  Reply(std::shared_ptr<ReplySink> sink, std::uint64_t unique, MutableByteSpan scratch,
        std::atomic<std::uint64_t>* answered_bytes = nullptr)
      : sink_{std::move(sink)}, unique_{unique}, scratch_{scratch}, answered_bytes_{answered_bytes} {}
  Reply(Reply&& other) noexcept = default;
  Reply& operator=(Reply&&) = delete;
  ~Reply();

  /// Room for the payload; at most as long as the transport allows. Not to be used by a parked reply.
  MutableByteSpan scratch(std::size_t size) const {
    return scratch_.first(size < scratch_.size() ? size : scratch_.size());
  }
  std::size_t max_payload() const { return scratch_.size(); }
  /// Where the payload of a request that asks for `size` bytes will lie in the end, to be filled in without a copy
  /// between; nothing: `scratch` must do. Also of a parked reply.
  std::vector<MutableByteSpan> room(std::size_t size) const { return sink_->room(size); }
  const std::shared_ptr<ReplySink>& sink() const { return sink_; }

  /// Each of these answers; the return value is that of ReplySink::send.
  int error(int sys_errno);
  int done() { return bytes({}); }
  int bytes(ByteSpan payload);
  int filled(std::size_t size);  ///< the first so many bytes of `room`
  template <typename T>
  int value(const T& payload) {
    static_assert(std::is_trivially_copyable_v<T>);
    return bytes(std::as_bytes(std::span{&payload, 1}));
  }
  /// For requests that take no answer (FORGET): gives up the duty.
  void none() { answered_ = true; }

 private:
  int send(int error, ByteSpan payload);
  void count(std::size_t payload);

  std::shared_ptr<ReplySink> sink_;  ///< empty after a move
  std::uint64_t unique_;
  bool answered_ = false;
  MutableByteSpan scratch_;
  std::atomic<std::uint64_t>* answered_bytes_;
};

}  // namespace stellarium::fs::fuse
