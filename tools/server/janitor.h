#pragma once
#include <chrono>
#include <condition_variable>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "tools/server/store.h"

namespace stellarium::server {

/// What can wait until a command is answered: removes the records and staged files of layers that have lost their name
/// (`rm` itself is one batch), folds what removed snapshots leave of a clone's chain; once, what a crash left of staged
/// files. A moment after a command it gives freed memory back to the kernel, unless another one needs it.
///
/// Its thread is below everybody's and rests three times as long as it works, but not while more than a few layers wait
/// to be folded: who makes and removes snapshots all the time must not get ahead of it.
/// Threads: all functions may be called concurrently.
class Janitor {
 public:
  explicit Janitor(Store& store);  ///< borrows it
  ~Janitor();                      ///< waits for the piece of work that is under way
  Janitor(const Janitor&) = delete;
  Janitor& operator=(const Janitor&) = delete;
  void wake() EXCLUDES(mutex_);           ///< after an image or clone was made, removed, replaced or unmounted
  void command_ended() EXCLUDES(mutex_);  ///< after any command: it may have freed memory
  void begin() EXCLUDES(mutex_);          ///< once, when the mounts of an earlier server hold what they need

 private:
  using Clock = std::chrono::steady_clock;
  void work() EXCLUDES(mutex_);
  enum class Due : std::uint8_t { work, first_work, nothing, end };
  /// Sleeps until there is something to do; while it could not do all (`busy`) or memory was freed, not for long.
  Due wait_for_work(bool busy) EXCLUDES(mutex_);
  bool ending() const EXCLUDES(mutex_);
  bool rest() EXCLUDES(mutex_);      ///< false: it is to end
  bool clean_up() EXCLUDES(mutex_);  ///< true: somebody reads what is to be folded
  void sweep() EXCLUDES(mutex_);
  void drop(const std::vector<fs::StagedId>& staged) EXCLUDES(mutex_);
  void take_over_staged();
  void give_back_memory();

  Store& store_;
  Clock::time_point rested_;  // its own thread's: until when
  bool begun_ = false;        // the same
  mutable Mutex mutex_;
  std::condition_variable woken_;
  bool pending_ GUARDED_BY(mutex_) = false;
  bool memory_freed_ GUARDED_BY(mutex_) = false;
  bool beginning_ GUARDED_BY(mutex_) = false;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  ///< last: starts when everything else is there
};

}  // namespace stellarium::server
