#include "fs/chores.h"

#include <algorithm>
#include <utility>

namespace stellarium::fs {

Chores::~Chores() {
  std::thread ended;
  {
    const MutexLock lock{mutex_};
    ending_ = true;
    ended = std::move(thread_);
  }
  changed_.notify_all();
  if (ended.joinable()) ended.join();
}

std::unique_ptr<Chores::Chore> Chores::add(std::function<bool()> work) {
  const MutexLock lock{mutex_};
  works_.emplace(++last_id_, Work{std::move(work)});
  return std::unique_ptr<Chore>{new Chore{*this, last_id_}};
}

void Chores::ask(std::uint64_t id) {
  {
    const MutexLock lock{mutex_};
    Work& work = works_.at(id);
    work.due = std::min(work.due, std::chrono::steady_clock::now() + pause_);
    if (!thread_.joinable() && !ending_) thread_ = std::thread{[this] { run(); }};
  }
  changed_.notify_all();
}

void Chores::remove(std::uint64_t id) {
  std::map<std::uint64_t, Work>::node_type ended;  // what it holds goes when no lock is held
  MutexLock lock{mutex_};
  while (running_ == id) lock.wait(changed_);
  ended = works_.extract(id);
}

std::optional<Chores::Begun> Chores::begin_next() {
  MutexLock lock{mutex_};
  while (!ending_) {
    const auto next = std::ranges::min_element(works_, {}, [](const auto& each) { return each.second.due; });
    const Time due = next == works_.end() ? Time::max() : next->second.due;
    const auto now = std::chrono::steady_clock::now();
    if (due == Time::max()) {
      lock.wait(changed_);
    } else if (due > now) {
      lock.wait_for(changed_, due - now);
    } else {
      next->second.due = Time::max();
      running_ = next->first;
      return Begun{next->first, next->second.work};
    }
  }
  return std::nullopt;
}

void Chores::run() {
  while (const auto begun = begin_next()) {
    const bool again = begun->work();
    {
      const MutexLock lock{mutex_};
      running_ = 0;
      // It is still there: `remove` waits for this.
      if (again) works_.at(begun->id).due = std::chrono::steady_clock::now() + pause_;
    }
    changed_.notify_all();
  }
}

}  // namespace stellarium::fs
