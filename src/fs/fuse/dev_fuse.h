#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/fuse/backing_ids.h"
#include "fs/fuse/parked_replies.h"
#include "fs/fuse/reply.h"
#include "fs/fuse/session.h"

namespace stellarium::fs::fuse {

/// One /dev/fuse descriptor and the session on it.
/// Threads: all functions may be called concurrently.
class DevFuseConnection final : public ReplySink, public BackingPort {
 public:
  /// `device` becomes non-blocking (for all who share it). The session is given afterwards, because its file system may
  /// need this connection as its BackingPort.
  explicit DevFuseConnection(UniqueFd device);
  void set_session(std::unique_ptr<Session> session) { session_ = std::move(session); }

  int device() const { return device_.get(); }
  Session& session() { return *session_; }
  std::uint64_t errors() const { return errors_.load(std::memory_order_relaxed); }

  enum class Received { request, nothing, gone };
  /// Reads one request, if there is one; `request` is then the part of `buffer` that it fills. Does not wait.
  Received receive(MutableByteSpan buffer, ByteSpan& request);
  /// Asks the kernel to send again what was read and not answered (Linux 6.9 with the feature agreed on).
  [[nodiscard]] Result<void> ask_to_resend();

  int send(std::uint64_t unique, int error, ByteSpan payload) override;
  void store(NodeId node, ByteSpan content) override;
  ParkedReplies& parked() override { return parked_; }
  [[nodiscard]] Result<std::uint32_t> open(int fd) override;
  [[nodiscard]] Result<std::uint32_t> open_for_writing(int fd) override;
  void close(std::uint32_t id) override;

 private:
  UniqueFd device_;
  ParkedReplies parked_;
  std::unique_ptr<Session> session_;
  std::atomic<std::uint64_t> errors_ = 0;
};

}  // namespace stellarium::fs::fuse
