#include "virtiofsd/event_workers.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/raw_bytes.h"
#include "fs/fuse/session.h"

namespace stellarium::virtiofsd {
namespace {

constexpr EventWorkers::Id kStop = 0;

}  // namespace

Result<std::unique_ptr<EventWorkers>> EventWorkers::start(unsigned workers) {
  UniqueFd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  if (!epoll) return fail_errno("making an epoll instance");
  UniqueFd stop{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!stop) return fail_errno("making an eventfd");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kStop}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, stop.get(), &event) != 0) return fail_errno("watching an eventfd");
  std::unique_ptr<EventWorkers> pool{new EventWorkers{std::move(epoll), std::move(stop)}};
  for (unsigned i = 0; i < workers; ++i) {
    pool->threads_.emplace_back([raw = pool.get()] {
      // Pages that were never needed take no memory.
      RawBytes message{fs::fuse::kMaxRequest}, scratch{fs::fuse::kMaxPayload};
      raw->run({{message.data(), message.size()}, {scratch.data(), scratch.size()}});
    });
    ::pthread_setname_np(pool->threads_.back().native_handle(), "virtiofs-worker");
  }
  return pool;
}

EventWorkers::~EventWorkers() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);  // level-triggered and never read: it wakes all
  threads_.clear();
  std::map<Id, std::shared_ptr<Source>> ended;
  {
    const MutexLock lock{mutex_};
    ended.swap(sources_);
  }
}

Result<void> EventWorkers::watch(int operation, Id id, int descriptor) {
  epoll_event event{.events = EPOLLIN | EPOLLONESHOT, .data = {.u64 = id}};
  if (::epoll_ctl(epoll_.get(), operation, descriptor, &event) != 0) return fail_errno("watching a descriptor");
  return {};
}

Result<EventWorkers::Id> EventWorkers::add(UniqueFd descriptor, Handler handler) {
  const int fd = descriptor.get();
  Id id = 0;
  {
    const MutexLock lock{mutex_};
    id = next_++;
    sources_.emplace(id, std::make_shared<Source>(Source{std::move(descriptor), std::move(handler)}));
  }
  if (auto watched = watch(EPOLL_CTL_ADD, id, fd); !watched) {
    remove(id);
    return fail(watched.error());
  }
  return id;
}

void EventWorkers::remove(Id id) {
  std::map<Id, std::shared_ptr<Source>>::node_type ended;  // its handler goes when no lock is held
  {
    const MutexLock lock{mutex_};
    ended = sources_.extract(id);
  }
  if (ended) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, ended.mapped()->descriptor.get(), nullptr);
}

std::shared_ptr<EventWorkers::Source> EventWorkers::find(Id id) {
  const MutexLock lock{mutex_};
  const auto found = sources_.find(id);
  return found == sources_.end() ? nullptr : found->second;
}

void EventWorkers::run(Buffers buffers) {
  while (true) {
    epoll_event event;
    const int ready = ::epoll_wait(epoll_.get(), &event, 1, -1);
    if (ready < 0 && errno != EINTR) {
      log::critical("a virtiofs worker stops: {}", to_string(Error{Errc::io, "epoll_wait", errno}));
      return;
    }
    if (ready != 1) continue;
    if (event.data.u64 == kStop) return;
    const std::shared_ptr<Source> source = find(event.data.u64);
    if (!source) continue;
    if (!source->handler(source->descriptor.get(), buffers)) {
      remove(event.data.u64);
    } else if (find(event.data.u64)) {
      (void)watch(EPOLL_CTL_MOD, event.data.u64, source->descriptor.get());  // ENOENT: it was removed just now
    }
  }
}

}  // namespace stellarium::virtiofsd
