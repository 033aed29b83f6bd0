#include "tools/server/janitor.h"

#include <malloc.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "fs/staged_sweep.h"
#include "tools/server/thread_priority.h"

namespace stellarium::server {
namespace {

constexpr int kRest = 3;  // times as long as it worked
constexpr auto kMaxRest = std::chrono::milliseconds{100};
constexpr auto kShortestWork = std::chrono::microseconds{500};  // shorter pieces of work share a rest
constexpr std::size_t kMaxFoldable = 8;                         // above it there is no time to rest
constexpr auto kBusyPause = std::chrono::seconds{5};            // until who reads a layer may be done
constexpr auto kIdleAfter = std::chrono::seconds{3};            // after a command
constexpr std::size_t kDroppedAtOnce = 32;                      // staged files, 30 µs or more each

}  // namespace

Janitor::Janitor(Store& store) : store_{store}, thread_{[this] { work(); }} {}

Janitor::~Janitor() {
  {
    MutexLock lock{mutex_};
    ending_ = true;
  }
  woken_.notify_one();
  thread_.join();
}

void Janitor::wake() {
  {
    MutexLock lock{mutex_};
    pending_ = true;
  }
  woken_.notify_one();
}

void Janitor::command_ended() {
  {
    MutexLock lock{mutex_};
    if (std::exchange(memory_freed_, true)) return;
  }
  woken_.notify_one();
}

void Janitor::begin() {
  {
    MutexLock lock{mutex_};
    pending_ = beginning_ = true;
  }
  woken_.notify_one();
}

bool Janitor::ending() const {
  MutexLock lock{mutex_};
  return ending_;
}

bool Janitor::rest() {
  const auto worked = Clock::now() - rested_;
  if (worked < kShortestWork || store_.catalog().chores().foldable > kMaxFoldable) return !ending();
  const auto until = Clock::now() + std::min<Clock::duration>(worked * kRest, kMaxRest);
  {
    MutexLock lock{mutex_};
    while (!ending_ && Clock::now() < until) lock.wait_for(woken_, until - Clock::now());
  }
  rested_ = Clock::now();
  return !ending();
}

// The records of a killed server became durable when the database was opened, their files did not. Programs do not wait
// for that. What cannot be removed now stays for the next start.
void Janitor::take_over_staged() {
  if (auto synced = store_.staging().sync_earlier(); !synced) log::warn("{}", to_string(synced.error()));
  const auto removed = fs::sweep_staged(store_.database(), store_.staging(), [this] { return !ending(); });
  if (!removed) {
    log::warn("removing staged files that nothing names: {}", to_string(removed.error()));
  } else if (*removed != 0) {
    log::info("removed {} staged files that nothing named", *removed);
  }
}

void Janitor::drop(const std::vector<fs::StagedId>& staged) {
  for (std::size_t at = 0; at < staged.size(); at += kDroppedAtOnce) {
    const auto begin = staged.begin() + static_cast<std::ptrdiff_t>(at);
    const auto count = static_cast<std::ptrdiff_t>(std::min(kDroppedAtOnce, staged.size() - at));
    store_.staging().leases().remove_when_free({begin, begin + count});
    if (!rest()) return;  // the next start removes the others
  }
}

// What it cannot remove now stays for gc.
void Janitor::sweep() {
  const auto swept = store_.catalog().sweep({
      .go_on = [this] { return rest(); },
      .drop = [this](const std::vector<fs::StagedId>& staged) { drop(staged); },
  });
  if (!swept) log::warn("removing the records of unnamed layers: {}", to_string(swept.error()));
}

bool Janitor::clean_up() {
  for (;;) {
    sweep();
    if (!begun_ || ending()) return false;
    const auto folded = store_.layer_folding().run([this] { return rest(); });
    if (!folded) log::warn("folding layers that nobody names: {}", to_string(folded.error()));
    if (!folded || folded->folded == 0) return folded && folded->busy != 0;
  }
}

Janitor::Due Janitor::wait_for_work(bool busy) {
  MutexLock lock{mutex_};
  while (!pending_ && !ending_) {
    if (!busy && !memory_freed_) {
      lock.wait(woken_);
    } else if (lock.wait_for(woken_, busy ? kBusyPause : kIdleAfter) == std::cv_status::timeout) {
      memory_freed_ = false;
      return Due::nothing;
    }
  }
  if (ending_) return Due::end;
  pending_ = false;
  return std::exchange(beginning_, false) ? Due::first_work : Due::work;
}

void Janitor::work() {
  bool busy = false;
  for (;;) {
    const Due due = wait_for_work(busy);
    if (due == Due::end) return;
    if (due == Due::nothing) {
      give_back_memory();
      if (!busy) continue;
    }
    if (due == Due::first_work) {
      // Programs' syncs wait for files of before: that is nothing for a thread that runs when nobody else does.
      take_over_staged();
      lower_thread_priority("cleaning up");
      begun_ = true;
    }
    rested_ = Clock::now();
    busy = clean_up();
    const MutexLock lock{mutex_};
    memory_freed_ = true;
  }
}

/// The next of several imports would only have to ask for it again.
void Janitor::give_back_memory() {
  store_.contents().give_back_memory();
  ::malloc_trim(0);
}

}  // namespace stellarium::server
