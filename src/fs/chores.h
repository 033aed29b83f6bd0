#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "base/mutex.h"

namespace stellarium::fs {

/// Work that nobody waits for, of any number of owners, one after the other on one thread, which is there from the
/// first time that there is something to do.
///
/// Threads: all functions may be called concurrently, and from the work.
class Chores {
 public:
  /// `pause`: from the moment that work is asked for until it begins, so that much of it is done at once.
  explicit Chores(std::chrono::milliseconds pause) : pause_{pause} {}
  ~Chores();  ///< of all owners, none is left

  /// One owner's work. Ends with this object, which waits if it is under way.
  class Chore {
   public:
    ~Chore() { chores_.remove(id_); }
    Chore(const Chore&) = delete;
    Chore& operator=(const Chore&) = delete;
    /// It is to be done, once, however often this is called before it begins.
    void ask() { chores_.ask(id_); }

   private:
    friend class Chores;
    Chore(Chores& chores, std::uint64_t id) : chores_{chores}, id_{id} {}
    Chores& chores_;
    const std::uint64_t id_;
  };
  /// `work` returns whether it is to be done again. It must not end its own Chore.
  std::unique_ptr<Chore> add(std::function<bool()> work) EXCLUDES(mutex_);

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Work {
    std::function<bool()> work;
    Time due = Time::max();
  };
  void ask(std::uint64_t id) EXCLUDES(mutex_);
  void remove(std::uint64_t id) EXCLUDES(mutex_);
  void run() EXCLUDES(mutex_);
  struct Begun {
    std::uint64_t id;
    std::function<bool()> work;
  };
  std::optional<Begun> begin_next() EXCLUDES(mutex_);  ///< waits; nothing: it is time to end

  const std::chrono::milliseconds pause_;
  Mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, Work> works_ GUARDED_BY(mutex_);
  std::uint64_t last_id_ GUARDED_BY(mutex_) = 0, running_ GUARDED_BY(mutex_) = 0;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::fs
