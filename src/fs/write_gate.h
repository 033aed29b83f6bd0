#pragma once
#include <chrono>
#include <condition_variable>
#include <cstddef>

#include "base/mutex.h"

namespace stellarium::fs {

/// Whoever changes bytes of a clone's files, or opens one, passes here; a snapshot closes it for the moment in which it
/// decides what belongs to whom.
///
/// Threads: all functions may be called concurrently. Who is inside does not pass once more.
class WriteGate {
 public:
  /// Held from before the file to write is looked for until its bytes are written, or its handle is known.
  class Pass {
   public:
    explicit Pass(WriteGate& gate) : gate_{gate} { gate_.enter(); }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    ~Pass() { gate_.leave(); }

   private:
    WriteGate& gate_;
  };

  /// Nobody is inside while it lives, if it says so: some copy a large file in there, and the others are not kept
  /// waiting for them longer than `patience`. One at a time.
  class Closed {
   public:
    Closed(WriteGate& gate, std::chrono::milliseconds patience) : gate_{gate}, empty_{gate.close(patience)} {}
    Closed(const Closed&) = delete;
    Closed& operator=(const Closed&) = delete;
    ~Closed() { gate_.open(); }
    explicit operator bool() const { return empty_; }

   private:
    WriteGate& gate_;
    const bool empty_;
  };

 private:
  void enter() EXCLUDES(mutex_);
  void leave() EXCLUDES(mutex_);
  bool close(std::chrono::milliseconds patience) EXCLUDES(mutex_);
  void open() EXCLUDES(mutex_);

  Mutex mutex_;
  std::condition_variable changed_;
  std::size_t inside_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace stellarium::fs
