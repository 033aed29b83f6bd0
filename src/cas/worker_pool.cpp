#include "cas/worker_pool.h"

#include <utility>

namespace stellarium::cas {

WorkerPool::WorkerPool(unsigned threads) {
  for (unsigned n = 0; n < threads; ++n) threads_.emplace_back([this] { run(); });
}

WorkerPool::~WorkerPool() {
  {
    MutexLock lock{mutex_};
    stopping_ = true;
  }
  changed_.notify_all();
}

void WorkerPool::submit(std::function<void()> job) {
  {
    MutexLock lock{mutex_};
    jobs_.push_back(std::move(job));
  }
  changed_.notify_one();
}

void WorkerPool::run() {
  for (;;) {
    std::function<void()> job;
    {
      MutexLock lock{mutex_};
      while (jobs_.empty() && !stopping_) lock.wait(changed_);
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace stellarium::cas
