#include "virtiofsd/guest_server.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/log.h"

namespace stellarium::virtiofsd {
namespace {

constexpr std::uint64_t kWindowUnit = 2u << 20;  // what the driver hands out
constexpr std::uint64_t kMaxWindow = 1ull << 40;

}  // namespace

/// What is left of an export is held by the handlers of its descriptors.
class GuestServer::Socket final : public std::enable_shared_from_this<Socket> {
 public:
  Socket(std::shared_ptr<EventWorkers> workers, Device::Options options, OpenSession open_session)
      : workers_{std::move(workers)}, options_{std::move(options)}, open_session_{std::move(open_session)} {}

  Result<void> listen(UniqueFd listening) {
    ::fcntl(listening.get(), F_SETFL, ::fcntl(listening.get(), F_GETFL) | O_NONBLOCK);
    auto watched = workers_->add(std::move(listening), [self = shared_from_this()](int descriptor, auto) {
      self->accept(descriptor);
      return true;
    });
    if (!watched) return fail(watched.error());
    const MutexLock lock{mutex_};
    listening_ = *watched;
    return {};
  }
  void set_on_ended(const std::function<void()>& hook) EXCLUDES(mutex_) {
    {
      const MutexLock lock{mutex_};
      on_ended_ = hook;
      if (!ended_) return;
    }
    hook();
  }

  void close() {
    std::shared_ptr<Device> device;
    EventWorkers::Id listening = 0, connected = 0;
    {
      const MutexLock lock{mutex_};
      closed_ = true;
      device = std::move(device_);
      listening = std::exchange(listening_, 0);
      connected = std::exchange(connected_, 0);
    }
    if (listening != 0) workers_->remove(listening);
    if (connected != 0) workers_->remove(connected);
    if (device) device->end();
  }

 private:
  void accept(int listening) {
    UniqueFd frontend{::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC)};
    if (!frontend) {
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        log::warn("virtio-fs {}: {}", options_.tag, to_string(Error{Errc::io, "accept", errno}));
      return;
    }
    if (auto connected = connect(std::move(frontend)); !connected)
      log::warn("virtio-fs {}: {}", options_.tag, to_string(connected.error()));
  }

  Result<void> connect(UniqueFd frontend) EXCLUDES(mutex_) {
    const MutexLock lock{mutex_};
    if (closed_ || device_) return fail(Errc::busy, "a second front-end is refused");
    const auto window =
        options_.dax_window == 0 ? nullptr : std::make_shared<WindowChannel>(options_.dax_window, workers_);
    auto session = open_session_(window);
    if (!session) return fail(session.error());
    auto device = Device::create(std::move(frontend), std::move(*session), options_, workers_, window);
    UniqueFd watched{::fcntl(device->frontend(), F_DUPFD_CLOEXEC, 3)};
    if (!watched) return fail_errno("duplicating a descriptor");
    auto connected = workers_->add(std::move(watched), [self = shared_from_this(), device](int, auto) {
      if (device->serve_frontend()) return true;
      self->disconnect(device);
      return false;
    });
    if (!connected) return fail(connected.error());
    connected_ = *connected;
    device_ = std::move(device);
    return {};
  }

  void disconnect(const std::shared_ptr<Device>& device) EXCLUDES(mutex_) {
    device->end();
    std::shared_ptr<Device> gone;  // with its session, when no lock is held
    std::function<void()> tell;
    {
      const MutexLock lock{mutex_};
      if (device_ != device) return;
      gone = std::move(device_);
      connected_ = 0;
      ended_ = true;
      tell = on_ended_;
    }
    gone.reset();
    if (tell) tell();
  }

  const std::shared_ptr<EventWorkers> workers_;
  const Device::Options options_;
  const OpenSession open_session_;
  Mutex mutex_;
  bool ended_ GUARDED_BY(mutex_) = false;
  std::function<void()> on_ended_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
  EventWorkers::Id listening_ GUARDED_BY(mutex_) = 0, connected_ GUARDED_BY(mutex_) = 0;
  std::shared_ptr<Device> device_ GUARDED_BY(mutex_);
};

Result<std::unique_ptr<GuestServer>> GuestServer::start(unsigned workers) {
  auto pool = EventWorkers::start(workers);
  if (!pool) return fail(pool.error());
  return std::unique_ptr<GuestServer>{new GuestServer{std::move(*pool)}};
}

GuestServer::~GuestServer() {
  workers_->stop();  // requests that wait for something may have the last word
}

Result<std::unique_ptr<GuestServer::Export>> GuestServer::serve(UniqueFd listening, const Device::Options& options,
                                                                OpenSession open_session) {
  class Serving final : public Export {
   public:
    explicit Serving(std::shared_ptr<Socket> socket) : socket_{std::move(socket)} {}
    ~Serving() override { socket_->close(); }
    void set_on_ended(std::function<void()> hook) override { socket_->set_on_ended(hook); }

   private:
    const std::shared_ptr<Socket> socket_;
  };
  if (options.tag.empty() || options.tag.size() > protocol::kMaxTag || options.tag.find('\n') != std::string::npos)
    return fail(Errc::invalid_argument, "a tag has 1 to 36 bytes and no line break");
  if (options.request_queues == 0 || options.request_queues > Device::kMaxRequestQueues)
    return fail(Errc::invalid_argument, "1 to 63 request queues");
  if (options.dax_window % kWindowUnit != 0 || options.dax_window > kMaxWindow)
    return fail(Errc::invalid_argument, "a DAX window is a multiple of 2 MiB, and at most 1 TiB");
  if (options.shared_memory_bit > 63) return fail(Errc::invalid_argument, "features have the numbers 0 to 63");
  auto socket = std::make_shared<Socket>(workers_, options, std::move(open_session));
  if (auto listens = socket->listen(std::move(listening)); !listens) return fail(listens.error());
  return std::make_unique<Serving>(std::move(socket));
}

}  // namespace stellarium::virtiofsd
