#pragma once
#include <condition_variable>
#include <thread>

#include "base/mutex.h"
#include "cas/database.h"
#include "fs/catalog.h"
#include "fs/staging.h"

namespace stellarium::server {

/// What can wait until a command is answered: removes the records of layers that have lost their name (`rm` itself is
/// one record), and gives freed memory back to the kernel; once, what a crash left of staged files.
/// Threads: all functions may be called concurrently.
class Janitor {
 public:
  /// Borrows all of them.
  Janitor(fs::Catalog& catalog, cas::Database& database, fs::Staging& staging);
  ~Janitor();  ///< waits for a walk that is under way
  Janitor(const Janitor&) = delete;
  Janitor& operator=(const Janitor&) = delete;
  void wake() EXCLUDES(mutex_);   ///< after an image was imported, removed, replaced or unmounted
  void begin() EXCLUDES(mutex_);  ///< once, when the mounts of an earlier server hold what they need

 private:
  void work() EXCLUDES(mutex_);
  bool ending() const EXCLUDES(mutex_);
  void take_over_staged();
  fs::Catalog& catalog_;
  cas::Database& database_;
  fs::Staging& staging_;
  mutable Mutex mutex_;
  std::condition_variable woken_;
  bool pending_ GUARDED_BY(mutex_) = false;
  bool beginning_ GUARDED_BY(mutex_) = false;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  ///< last: starts when everything else is there
};

}  // namespace stellarium::server
