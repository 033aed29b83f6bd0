#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/fuse/backing_ids.h"
#include "fs/fuse/parked_replies.h"
#include "fs/fuse/reply.h"
#include "fs/fuse/reply_buffers.h"
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
  /// Asks the kernel to send again what was read and not answered (Linux 6.9 with the feature agreed on).
  [[nodiscard]] Result<void> ask_to_resend();

  int send(std::uint64_t unique, int error, ByteSpan payload) override;
  ParkedReplies& parked() override { return parked_; }
  [[nodiscard]] Result<std::uint32_t> open(int fd) override;
  void close(std::uint32_t id) override;

 private:
  UniqueFd device_;
  ParkedReplies parked_;
  std::unique_ptr<Session> session_;
  std::atomic<std::uint64_t> errors_ = 0;
};

/// The workers that serve all connections of a server: one epoll, edge-triggered, so that a request wakes one worker.
///
/// Each worker owns a request buffer and a resident reply buffer. A worker that meets a busy connection gives way to
/// others after a while; work that waits is parked by the file system, never by a worker. Threads: all functions may be
/// called concurrently.
class DevFuseWorkers {
 public:
  /// Called (on a worker) with the id of a connection that was unmounted; it is not served any more.
  using Gone = std::function<void(std::uint64_t id)>;
  static Result<std::unique_ptr<DevFuseWorkers>> start(unsigned workers, Gone gone);
  ~DevFuseWorkers();  ///< returns when no worker runs any more

  [[nodiscard]] Result<void> add(std::uint64_t id, std::shared_ptr<DevFuseConnection> connection);

  /// Receives and handles one request in the calling thread. What came of it:
  enum class Received { request, nothing, gone };
  static Received receive(const std::shared_ptr<DevFuseConnection>& connection, MutableByteSpan message,
                          MutableByteSpan scratch);

 private:
  DevFuseWorkers(UniqueFd epoll, UniqueFd stop, Gone gone)
      : epoll_{std::move(epoll)}, stop_{std::move(stop)}, gone_{std::move(gone)} {}
  void run(const LockedMemory& message, const LockedMemory& scratch);
  void serve(std::uint64_t id, MutableByteSpan message, MutableByteSpan scratch);
  std::shared_ptr<DevFuseConnection> find(std::uint64_t id);

  UniqueFd epoll_, stop_;
  Gone gone_;
  Mutex mutex_;
  std::unordered_map<std::uint64_t, std::shared_ptr<DevFuseConnection>> connections_ GUARDED_BY(mutex_);
  std::vector<std::jthread> threads_;
};

}  // namespace stellarium::fs::fuse
