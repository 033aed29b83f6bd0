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

constexpr EventWorkers::Id kStop = 0, kPosted = 1;

}  // namespace

Result<std::shared_ptr<EventWorkers>> EventWorkers::start(unsigned workers) {
  UniqueFd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  if (!epoll) return fail_errno("making an epoll instance");
  UniqueFd stop{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)},
      posted{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)};
  if (!stop || !posted) return fail_errno("making an eventfd");
  for (const auto& [id, fd] : {std::pair{kStop, stop.get()}, {kPosted, posted.get()}}) {
    epoll_event event{.events = EPOLLIN, .data = {.u64 = id}};
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("watching an eventfd");
  }
  std::shared_ptr<EventWorkers> pool{new EventWorkers{std::move(epoll), std::move(stop), std::move(posted)}};
  for (unsigned i = 0; i < workers; ++i) {
    pool->threads_.emplace_back([raw = pool.get()] {
      ::pthread_setname_np(::pthread_self(), "virtiofs-worker");  // by itself: of others /proc would have to be written
      // Pages that were never needed take no memory.
      RawBytes message{fs::fuse::kMaxRequest}, scratch{fs::fuse::kMaxPayload};
      raw->run({{message.data(), message.size()}, {scratch.data(), scratch.size()}});
    });
  }
  return pool;
}

void EventWorkers::stop() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);  // level-triggered and never read: it wakes all
  threads_.clear();
  std::map<Id, std::shared_ptr<Source>> ended;
  std::deque<std::function<void()>> dropped;
  const MutexLock lock{mutex_};
  stopped_ = true;
  ended.swap(sources_);
  dropped.swap(work_);
}

void EventWorkers::post(std::function<void()> work) {
  {
    const MutexLock lock{mutex_};
    if (stopped_) return;
    work_.push_back(std::move(work));
  }
  const std::uint64_t one = 1;
  (void)!::write(posted_.get(), &one, sizeof one);
}

void EventWorkers::run_posted() {
  std::uint64_t one = 0;
  if (::read(posted_.get(), &one, sizeof one) != sizeof one) return;  // another worker has it
  std::function<void()> work;
  {
    const MutexLock lock{mutex_};
    if (work_.empty()) return;
    work = std::move(work_.front());
    work_.pop_front();
  }
  work();
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
    if (stopped_) return fail(Errc::cancelled, "the workers have stopped");
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
    if (event.data.u64 == kPosted) {
      run_posted();
      continue;
    }
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
