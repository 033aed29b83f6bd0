#pragma once
#include <condition_variable>
#include <thread>

#include "base/mutex.h"
#include "fs/catalog.h"

namespace stellarium::server {

/// What can wait until a command is answered: removes the records of layers that have lost their name (`rm` itself is
/// one record), and gives freed memory back to the kernel. Threads: all functions may be called concurrently.
class Janitor {
 public:
  explicit Janitor(fs::Catalog& catalog);
  ~Janitor();  ///< waits for a walk that is under way
  Janitor(const Janitor&) = delete;
  Janitor& operator=(const Janitor&) = delete;
  void wake() EXCLUDES(mutex_);  ///< after an image was imported, removed, replaced or unmounted

 private:
  void work() EXCLUDES(mutex_);
  fs::Catalog& catalog_;
  Mutex mutex_;
  std::condition_variable woken_;
  bool pending_ GUARDED_BY(mutex_) = false;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  ///< last: starts when everything else is there
};

}  // namespace stellarium::server
