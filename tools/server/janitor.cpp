#include "tools/server/janitor.h"

#include <malloc.h>

#include "base/log.h"

namespace stellarium::server {

Janitor::Janitor(fs::Catalog& catalog) : catalog_{catalog}, thread_{[this] { work(); }} {}

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

void Janitor::work() {
  for (;;) {
    {
      MutexLock lock{mutex_};
      while (!pending_ && !ending_) lock.wait(woken_);
      if (ending_) return;
      pending_ = false;
    }
    // What it cannot remove now stays for gc.
    if (auto swept = catalog_.sweep(); !swept)
      log::warn("removing the records of unnamed layers: {}", to_string(swept.error()));
    ::malloc_trim(0);
  }
}

}  // namespace stellarium::server
