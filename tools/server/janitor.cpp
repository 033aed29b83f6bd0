#include "tools/server/janitor.h"

#include <malloc.h>

#include <utility>

#include "base/log.h"
#include "fs/staged_sweep.h"

namespace stellarium::server {

Janitor::Janitor(fs::Catalog& catalog, cas::Database& database, fs::Staging& staging)
    : catalog_{catalog}, database_{database}, staging_{staging}, thread_{[this] { work(); }} {}

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

// The records of a killed server became durable when the database was opened, their files did not. Programs do not wait
// for that. What cannot be removed now stays for the next start.
void Janitor::take_over_staged() {
  if (auto synced = staging_.sync_earlier(); !synced) log::warn("{}", to_string(synced.error()));
  const auto removed = fs::sweep_staged(database_, staging_, [this] { return !ending(); });
  if (!removed) {
    log::warn("removing staged files that nothing names: {}", to_string(removed.error()));
  } else if (*removed != 0) {
    log::info("removed {} staged files that nothing named", *removed);
  }
}

void Janitor::work() {
  for (;;) {
    bool beginning = false;
    {
      MutexLock lock{mutex_};
      while (!pending_ && !ending_) lock.wait(woken_);
      if (ending_) return;
      pending_ = false;
      std::swap(beginning, beginning_);
    }
    // What it cannot remove now stays for gc.
    if (auto swept = catalog_.sweep(); !swept)
      log::warn("removing the records of unnamed layers: {}", to_string(swept.error()));
    if (beginning) take_over_staged();
    ::malloc_trim(0);
  }
}

}  // namespace stellarium::server
