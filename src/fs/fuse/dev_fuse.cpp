#include "fs/fuse/dev_fuse.h"

#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint64_t kStopEvent = ~std::uint64_t{0};
constexpr int kBeforeGivingWay = 256;  // requests of one connection before a worker looks at the others

}  // namespace

DevFuseConnection::DevFuseConnection(UniqueFd device) : device_{std::move(device)} {
  const int flags = ::fcntl(device_.get(), F_GETFL);
  ::fcntl(device_.get(), F_SETFL, flags | O_NONBLOCK);
}

int DevFuseConnection::send(std::uint64_t unique, int error, ByteSpan payload) {
  if (error != 0) errors_.fetch_add(1, std::memory_order_relaxed);
  abi::OutHeader header{static_cast<std::uint32_t>(sizeof header + payload.size()), -error, unique};
  std::array<iovec, 2> parts{{{&header, sizeof header}, {const_cast<std::byte*>(payload.data()), payload.size()}}};
  while (::writev(device_.get(), parts.data(), payload.empty() ? 1 : 2) < 0) {
    if (errno == EINTR) continue;
    const int failed = errno;
    // ENOENT: the program was killed while it waited. ENODEV: unmounted. Both are everyday events.
    if (failed != ENOENT && failed != ENODEV) {
      log::error("answering request {:#x} with {} bytes: {}", unique, payload.size(),
                 to_string(Error{Errc::io, "writev", failed}));
    }
    return failed;
  }
  return 0;
}

Result<void> DevFuseConnection::ask_to_resend() {
  const abi::OutHeader notification{sizeof notification, abi::kNotifyResend, 0};
  while (::write(device_.get(), &notification, sizeof notification) < 0) {
    if (errno != EINTR) return fail_errno("asking the kernel to resend requests");
  }
  return {};
}

Result<std::uint32_t> DevFuseConnection::open(int fd) {
  // The descriptor lies in the tier's private read-only mount, and the kernel opens files anew with the program's flags
  // on that mount: opening for writing fails there, whatever a wrong reply says.
  abi::BackingMap map{fd, 0, 0};
  const int id = ::ioctl(device_.get(), abi::kIocBackingOpen, &map);
  if (id < 0) {
    return fail_errno(errno == ELOOP ? "making a backing id (the hot folder lies on a stacked file system)"
                                     : "making a backing id");
  }
  return static_cast<std::uint32_t>(id);
}

void DevFuseConnection::close(std::uint32_t id) {
  ::ioctl(device_.get(), abi::kIocBackingClose, &id);
}

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
      raw->run(message, scratch);
    });
    ::pthread_setname_np(pool->threads_.back().native_handle(), "fuse-worker");
  }
  return pool;
}

DevFuseWorkers::~DevFuseWorkers() {
  // Level-triggered and never read: it wakes every worker.
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  threads_.clear();
}

Result<void> DevFuseWorkers::add(std::uint64_t id, std::shared_ptr<DevFuseConnection> connection) {
  const int device = connection->device();
  {
    const MutexLock lock{mutex_};
    connections_[id] = std::move(connection);
  }
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = id}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, device, &event) != 0) {
    const auto failed = fail_errno("watching a FUSE descriptor");
    const MutexLock lock{mutex_};
    connections_.erase(id);
    return failed;
  }
  return {};
}

std::shared_ptr<DevFuseConnection> DevFuseWorkers::find(std::uint64_t id) {
  const MutexLock lock{mutex_};
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second;
}

void DevFuseWorkers::run(const LockedMemory& message, const LockedMemory& scratch) {
  while (true) {
    epoll_event event;
    const int ready = ::epoll_wait(epoll_.get(), &event, 1, -1);
    if (ready < 0 && errno != EINTR) {
      log::critical("a FUSE worker stops: {}", to_string(Error{Errc::io, "epoll_wait", errno}));
      return;
    }
    if (ready != 1) continue;
    if (event.data.u64 == kStopEvent) return;
    serve(event.data.u64, message.span(), scratch.span());
  }
}

void DevFuseWorkers::serve(std::uint64_t id, MutableByteSpan message, MutableByteSpan scratch) {
  const std::shared_ptr<DevFuseConnection> connection = find(id);
  if (!connection) return;
  for (int i = 0; i < kBeforeGivingWay; ++i) {
    const Received received = receive(connection, message, scratch);
    if (received == Received::request) continue;
    if (received == Received::nothing) return;
    bool last = false;
    {
      const MutexLock lock{mutex_};
      last = connections_.erase(id) != 0;
    }
    if (!last) return;  // another worker noticed first
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection->device(), nullptr);
    gone_(id);
    return;
  }
  // There may be more, but others want their turn too: arming anew reports it again.
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = id}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection->device(), &event);
}

DevFuseWorkers::Received DevFuseWorkers::receive(const std::shared_ptr<DevFuseConnection>& connection,
                                                 MutableByteSpan message, MutableByteSpan scratch) {
  while (true) {
    const ssize_t size = ::read(connection->device(), message.data(), message.size());
    if (size >= 0) {
      connection->session().handle(message.first(static_cast<std::size_t>(size)), connection, scratch);
      return Received::request;
    }
    switch (errno) {
      case EINTR:
      case ENOENT:
        continue;  // the request was withdrawn while it was read
      case EAGAIN:
        return Received::nothing;
      case ENODEV:
      case ECONNABORTED:
        return Received::gone;
      default:
        log::error("reading requests: {}", to_string(Error{Errc::io, "read", errno}));
        return Received::gone;
    }
  }
}

}  // namespace stellarium::fs::fuse
