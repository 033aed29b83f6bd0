#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::virtiofsd {

/// A few threads for any number of sockets and eventfds, waiting for them with one epoll.
///
/// Threads: all functions but `stop` may be called concurrently, and from handlers.
class EventWorkers {
 public:
  /// What each worker has: room for a request and for its answer.
  struct Buffers {
    MutableByteSpan message, scratch;
  };
  /// Called on a worker when `descriptor` can be read, by one worker at a time. Returns whether to go on watching.
  using Handler = std::function<bool(int descriptor, Buffers)>;
  using Id = std::uint64_t;

  static Result<std::shared_ptr<EventWorkers>> start(unsigned workers);
  ~EventWorkers() { stop(); }
  /// Waits for handlers that run, and lets go of what they hold. Afterwards nothing is watched, and what is posted is
  /// dropped: who still has this object can do no harm.
  void stop() EXCLUDES(mutex_);

  Result<Id> add(UniqueFd descriptor, Handler handler) EXCLUDES(mutex_);
  /// Its handler is not called again; a call that is under way goes on. Unknown ids are ignored.
  void remove(Id id) EXCLUDES(mutex_);
  /// Runs it on a worker. What was not begun when they stop is dropped.
  void post(std::function<void()> work) EXCLUDES(mutex_);

 private:
  struct Source {
    UniqueFd descriptor;
    Handler handler;
  };
  EventWorkers(UniqueFd epoll, UniqueFd stop, UniqueFd posted)
      : epoll_{std::move(epoll)}, stop_{std::move(stop)}, posted_{std::move(posted)} {}
  void run(Buffers buffers);
  void run_posted() EXCLUDES(mutex_);
  std::shared_ptr<Source> find(Id id) EXCLUDES(mutex_);
  Result<void> watch(int operation, Id id, int descriptor);

  UniqueFd epoll_, stop_, posted_;
  Mutex mutex_;
  bool stopped_ GUARDED_BY(mutex_) = false;
  std::map<Id, std::shared_ptr<Source>> sources_ GUARDED_BY(mutex_);
  Id next_ GUARDED_BY(mutex_) = 2;
  std::deque<std::function<void()>> work_ GUARDED_BY(mutex_);
  std::vector<std::jthread> threads_;
};

}  // namespace stellarium::virtiofsd
