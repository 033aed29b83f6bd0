#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/large_bytes.h"
#include "base/mutex.h"

namespace stellarium::cas {

class FrameBuffers;

/// Room for a frame's bytes; goes back to where it came from at the end. Movable, not copyable.
class FrameBuffer {
 public:
  FrameBuffer() = default;                 ///< none
  explicit FrameBuffer(std::size_t size);  ///< memory of its own, not set to anything
  FrameBuffer(FrameBuffer&& other) noexcept;
  FrameBuffer& operator=(FrameBuffer&& other) noexcept;
  ~FrameBuffer();

  explicit operator bool() const { return bytes_ != nullptr; }
  std::size_t size() const { return size_; }
  std::byte* data() { return bytes_; }
  const std::byte* data() const { return bytes_; }
  ByteSpan bytes() const { return {bytes_, size_}; }
  MutableByteSpan bytes() { return {bytes_, size_}; }
  void resize(std::size_t size);  ///< within its room; what is new is not set to anything
  void append(ByteSpan bytes);

 private:
  friend class FrameBuffers;
  FrameBuffer(std::shared_ptr<FrameBuffers> from, std::byte* bytes, std::size_t room)
      : from_{std::move(from)}, bytes_{bytes}, room_{room} {}

  std::shared_ptr<FrameBuffers> from_;  // none: the memory is its own
  std::byte* bytes_ = nullptr;
  std::size_t size_ = 0, room_ = 0;
};

/// Memory that frames are made in, one after the other. Fresh memory is a page fault every 4 KiB, which was a twentieth
/// of an import's time and a third of a cold read's where a fault takes 12 µs.
///
/// Memory:  that of as many as were ever taken at once, until `give_back_memory` or the end.
/// Threads: all functions may be called concurrently.
class FrameBuffers : public std::enable_shared_from_this<FrameBuffers> {
 public:
  explicit FrameBuffers(std::size_t room) : room_{room} {}  ///< of each, at most 2 MiB

  FrameBuffer take() EXCLUDES(mutex_);  ///< empty
  /// Of that size, at most `room`. A small one has memory of its own: it may stay for long, and the rest of the room
  /// would be idle.
  FrameBuffer take(std::size_t size) EXCLUDES(mutex_);
  /// To the kernel, if no buffer is in use.
  void give_back_memory() EXCLUDES(mutex_);

 private:
  friend class FrameBuffer;
  void give_back(std::byte* bytes) EXCLUDES(mutex_);

  const std::size_t room_;
  Mutex mutex_;
  std::vector<LargeBytes> slabs_ GUARDED_BY(mutex_);  // each is room for several
  std::vector<std::byte*> idle_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::cas
