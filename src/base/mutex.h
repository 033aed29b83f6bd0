#pragma once
#include <condition_variable>
#include <mutex>

// Locks whose use clang checks at compile time (-Wthread-safety): a shared field names its lock with GUARDED_BY,
// a private function that expects the lock says REQUIRES. With other compilers the annotations are nothing.
#if defined(__clang__)
#define STELLARIUM_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define STELLARIUM_THREAD_ANNOTATION(x)
#endif
#define GUARDED_BY(x) STELLARIUM_THREAD_ANNOTATION(guarded_by(x))
#define REQUIRES(...) STELLARIUM_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) STELLARIUM_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) STELLARIUM_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define RELEASE(...) STELLARIUM_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define CAPABILITY(x) STELLARIUM_THREAD_ANNOTATION(capability(x))
#define SCOPED_CAPABILITY STELLARIUM_THREAD_ANNOTATION(scoped_lockable)
#define NO_THREAD_SAFETY_ANALYSIS STELLARIUM_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace stellarium {

class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

/// Holds a Mutex for a scope; `wait` gives it up while sleeping.
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : lock_{mutex.mutex_} {}
  ~MutexLock() RELEASE() = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  /// Sleeps until notified; wake-ups can be spurious, so call it in a loop over the condition.
  void wait(std::condition_variable& condition) { condition.wait(lock_); }
  template <typename Duration>
  std::cv_status wait_for(std::condition_variable& condition, const Duration& duration) {
    return condition.wait_for(lock_, duration);
  }

 private:
  std::unique_lock<std::mutex> lock_;
};

}  // namespace stellarium
