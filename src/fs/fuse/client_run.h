#pragma once
#include <cstdint>

namespace stellarium::fs::fuse {

/// How many requests in a row came from one thread: whether one program asks again and again, or many do in turn.
class ClientRun {
 public:
  static constexpr unsigned kAlone = 4;

  /// A request of that thread was received. 0 is nobody: RELEASE and the like, for whose answers no one waits.
  void received(std::uint32_t thread) {
    if (thread == 0) return;
    length_ = thread == thread_ ? length_ + 1 : 1;
    thread_ = thread;
  }
  bool alone() const { return length_ >= kAlone; }

 private:
  std::uint32_t thread_ = 0;
  unsigned length_ = 0;
};

}  // namespace stellarium::fs::fuse
