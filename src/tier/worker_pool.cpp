#include "tier/worker_pool.h"

#include <algorithm>

namespace stellarium::tier {

WorkerPool::WorkerPool(unsigned threads) {
  threads_.reserve(std::max(threads, 1u));
  for (unsigned i = 0; i < std::max(threads, 1u); ++i) threads_.emplace_back([this] { run(); });
}

void WorkerPool::finish() {
  {
    const MutexLock lock{mutex_};
    stopping_ = true;
  }
  work_.notify_all();
  for (auto& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void WorkerPool::submit(Priority priority, std::function<void()> task) {
  {
    const MutexLock lock{mutex_};
    switch (priority) {
      case Priority::demand:
        demand_.push_back(std::move(task));
        demands_.store(demand_.size(), std::memory_order_relaxed);
        break;
      case Priority::step:
        fill_.push_front(std::move(task));
        break;
      case Priority::fill:
        fill_.push_back(std::move(task));
        break;
    }
  }
  work_.notify_one();
}

void WorkerPool::run() {
  for (;;) {
    std::function<void()> task;
    {
      MutexLock lock{mutex_};
      // While another thread is busy its task may still submit a successor, so this one stays.
      while (demand_.empty() && fill_.empty() && !(stopping_ && busy_ == 0)) lock.wait(work_);
      if (demand_.empty() && fill_.empty()) break;
      auto& queue = demand_.empty() ? fill_ : demand_;
      task = std::move(queue.front());
      queue.pop_front();
      demands_.store(demand_.size(), std::memory_order_relaxed);
      ++busy_;
    }
    task();
    task = nullptr;  // what it holds is released before anybody believes that the work is over
    bool last = false;
    {
      const MutexLock lock{mutex_};
      last = --busy_ == 0 && stopping_;
    }
    if (last) work_.notify_all();
  }
  work_.notify_all();
}

}  // namespace stellarium::tier
