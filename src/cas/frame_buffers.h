#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/large_bytes.h"
#include "base/mutex.h"

namespace stellarium::cas {

class FrameBuffers;

/// Room for one container; goes back to where it came from at the end. Movable, not copyable.
class FrameBuffer {
 public:
  FrameBuffer() = default;  ///< none
  FrameBuffer(FrameBuffer&& other) noexcept;
  FrameBuffer& operator=(FrameBuffer&& other) noexcept;
  ~FrameBuffer();

  explicit operator bool() const { return bytes_ != nullptr; }
  std::size_t size() const { return size_; }
  ByteSpan bytes() const { return {bytes_, size_}; }
  MutableByteSpan bytes() { return {bytes_, size_}; }
  void resize(std::size_t size);  ///< at most kMaxContainer; what is new is not set to anything
  void append(ByteSpan bytes);

 private:
  friend class FrameBuffers;
  FrameBuffer(std::shared_ptr<FrameBuffers> from, std::byte* bytes) : from_{std::move(from)}, bytes_{bytes} {}

  std::shared_ptr<FrameBuffers> from_;
  std::byte* bytes_ = nullptr;
  std::size_t size_ = 0;
};

/// Memory that containers are made in, one after the other. Fresh memory is a page fault every 4 KiB, which was a
/// twentieth of an import's time where a fault takes 12 µs.
///
/// Memory:  that of as many as were ever taken at once, until the end.
/// Threads: all functions may be called concurrently.
class FrameBuffers : public std::enable_shared_from_this<FrameBuffers> {
 public:
  FrameBuffer take() EXCLUDES(mutex_);

 private:
  friend class FrameBuffer;
  void give_back(std::byte* bytes) EXCLUDES(mutex_);

  Mutex mutex_;
  std::vector<LargeBytes> slabs_ GUARDED_BY(mutex_);  // each is room for several
  std::vector<std::byte*> idle_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::cas
