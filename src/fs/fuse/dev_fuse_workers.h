#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/fuse/client_run.h"
#include "fs/fuse/dev_fuse.h"
#include "fs/fuse/reply_buffers.h"
#include "fs/fuse/wake_latency.h"

namespace stellarium::fs::fuse {

/// The workers that serve all connections of a server, waiting for them with one epoll.
///
/// A connection that has requests is reported to one worker. While they all come from one thread, it stays with that
/// worker alone, which waits awake for the next one during a stream: nobody has to be woken for it. As soon as a second
/// thread asks, every worker may help. A worker that meets a busy connection gives way to others after a while; work
/// that waits is parked by the file system, never by a worker. Each worker owns a request buffer and a resident reply
/// buffer. Threads: all functions may be called concurrently.
class DevFuseWorkers {
 public:
  /// Called (on a worker) with the id of a connection that was unmounted; it is not served any more.
  using Gone = std::function<void(std::uint64_t id)>;
  static Result<std::unique_ptr<DevFuseWorkers>> start(unsigned workers, Gone gone);
  ~DevFuseWorkers();  ///< returns when no worker runs any more

  [[nodiscard]] Result<void> add(std::uint64_t id, const std::shared_ptr<DevFuseConnection>& connection);

 private:
  DevFuseWorkers(UniqueFd epoll, UniqueFd stop, Gone gone)
      : epoll_{std::move(epoll)}, stop_{std::move(stop)}, gone_{std::move(gone)} {}
  void run(const LockedMemory& message, const LockedMemory& scratch);
  void serve(std::uint64_t id, MutableByteSpan message, MutableByteSpan scratch, ClientRun& clients);
  std::shared_ptr<DevFuseConnection> find(std::uint64_t id);
  /// Reports the connection's next request, or the one that waits already, once.
  bool arm(std::uint64_t id, const DevFuseConnection& connection, int operation);
  void remove(std::uint64_t id, const DevFuseConnection& connection);

  UniqueFd epoll_, stop_;
  Gone gone_;
  WakeLatency wake_latency_;
  Mutex mutex_;
  std::unordered_map<std::uint64_t, std::shared_ptr<DevFuseConnection>> connections_ GUARDED_BY(mutex_);
  std::vector<std::jthread> threads_;
};

}  // namespace stellarium::fs::fuse
