#include "fs/fuse/dev_fuse_workers.h"

#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "fs/fuse/request.h"

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint64_t kStopEvent = ~std::uint64_t{0};
// How long a worker waits awake for the next request of a stream, which is one every 125 µs at least (WakeLatency); the
// processor would not sleep meanwhile anyway.
constexpr std::chrono::microseconds kLinger{100};
constexpr int kBeforeGivingWay = 256;  // requests of one connection before a worker looks at the others

}  // namespace

Result<std::unique_ptr<DevFuseWorkers>> DevFuseWorkers::start(unsigned workers, Gone gone) {
  UniqueFd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  if (!epoll) return fail_errno("making an epoll instance");
  UniqueFd stop{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!stop) return fail_errno("making an eventfd");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kStopEvent}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, stop.get(), &event) != 0) return fail_errno("watching an eventfd");

  std::unique_ptr<DevFuseWorkers> pool{new DevFuseWorkers{std::move(epoll), std::move(stop), std::move(gone)}};
  for (unsigned i = 0; i < workers; ++i) {
    Result<LockedMemory> message = LockedMemory::make(kMaxRequest);
    Result<LockedMemory> scratch = LockedMemory::make(kMaxPayload);
    if (!message || !scratch) return fail(message ? scratch.error() : message.error());
    pool->threads_.emplace_back([raw = pool.get(), message = std::move(*message), scratch = std::move(*scratch)] {
      ::pthread_setname_np(::pthread_self(), "fuse-worker");  // by itself: of others /proc would have to be written
      raw->run(message, scratch);
    });
  }
  return pool;
}

DevFuseWorkers::~DevFuseWorkers() {
  // Level-triggered and never read: it wakes every worker.
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  threads_.clear();
}

Result<void> DevFuseWorkers::add(std::uint64_t id, const std::shared_ptr<DevFuseConnection>& connection) {
  {
    const MutexLock lock{mutex_};
    connections_[id] = connection;
  }
  if (arm(id, *connection, EPOLL_CTL_ADD)) return {};
  const auto failed = fail_errno("watching a FUSE descriptor");
  const MutexLock lock{mutex_};
  connections_.erase(id);
  return failed;
}

bool DevFuseWorkers::arm(std::uint64_t id, const DevFuseConnection& connection, int operation) {
  epoll_event event{.events = EPOLLIN | EPOLLONESHOT, .data = {.u64 = id}};
  if (::epoll_ctl(epoll_.get(), operation, connection.device(), &event) == 0) return true;
  const int failed = errno;
  // ENOENT: another worker has noticed that it was unmounted.
  if (failed != ENOENT) log::error("watching a FUSE descriptor: {}", to_string(Error{Errc::io, "epoll_ctl", failed}));
  errno = failed;
  return false;
}

std::shared_ptr<DevFuseConnection> DevFuseWorkers::find(std::uint64_t id) {
  const MutexLock lock{mutex_};
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second;
}

void DevFuseWorkers::run(const LockedMemory& message, const LockedMemory& scratch) {
  ClientRun clients;
  while (true) {
    epoll_event event;
    const int ready = ::epoll_wait(epoll_.get(), &event, 1, -1);
    if (ready < 0 && errno != EINTR) {
      log::critical("a FUSE worker stops: {}", to_string(Error{Errc::io, "epoll_wait", errno}));
      return;
    }
    if (ready != 1) continue;
    if (event.data.u64 == kStopEvent) return;
    serve(event.data.u64, message.span(), scratch.span(), clients);
  }
}

void DevFuseWorkers::serve(std::uint64_t id, MutableByteSpan message, MutableByteSpan scratch, ClientRun& clients) {
  const std::shared_ptr<DevFuseConnection> connection = find(id);
  if (!connection) return;
  // Until it is armed again, no other worker hears of this connection.
  bool armed = false;
  WakeLatency::Clock::time_point answered{};
  for (int served = 0; served < kBeforeGivingWay;) {
    ByteSpan request;
    const auto received = connection->receive(message, request);
    if (received == DevFuseConnection::Received::gone) {
      remove(id, *connection);
      return;
    }
    if (received == DevFuseConnection::Received::nothing) {
      if (armed) return;
      if (!wake_latency_.limited() || WakeLatency::Clock::now() - answered > kLinger) break;
      ::sched_yield();
      continue;
    }
    abi::InHeader header{};
    Request::read_header(request, header);
    clients.received(header.pid);
    if (!armed && !clients.alone()) armed = arm(id, *connection, EPOLL_CTL_MOD);
    connection->session().handle(request, connection, scratch);
    answered = WakeLatency::Clock::now();
    wake_latency_.served(answered);
    ++served;
  }
  if (!armed) arm(id, *connection, EPOLL_CTL_MOD);  // also when others want their turn: it is reported again
}

void DevFuseWorkers::remove(std::uint64_t id, const DevFuseConnection& connection) {
  {
    const MutexLock lock{mutex_};
    if (connections_.erase(id) == 0) return;  // another worker noticed first
  }
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.device(), nullptr);
  gone_(id);
}

}  // namespace stellarium::fs::fuse
