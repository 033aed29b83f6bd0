#pragma once
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/mutex.h"
#include "base/result.h"

namespace stellarium::fs::fuse {

/// Memory that is resident from the start and stays so, for payloads of replies: while the kernel copies one, a page
/// that would have to be faulted in makes it answer EIO for us if we are killed just then.
class LockedMemory {
 public:
  /// Populated; also locked if the process may (else it is resident until the system runs short of memory).
  static Result<LockedMemory> make(std::size_t size);
  LockedMemory(LockedMemory&& other) noexcept
      : base_{std::exchange(other.base_, nullptr)}, size_{std::exchange(other.size_, 0)} {}
  LockedMemory& operator=(LockedMemory&& other) noexcept;
  ~LockedMemory();
  MutableByteSpan span() const { return {base_, size_}; }

 private:
  LockedMemory(std::byte* base, std::size_t size) : base_{base}, size_{size} {}
  std::byte* base_;
  std::size_t size_;
};

class ReplyBuffers;

/// A buffer that goes back to its pool by itself.
class ReplyBuffer {
 public:
  ReplyBuffer(ReplyBuffers& pool, LockedMemory memory) : pool_{&pool}, memory_{std::move(memory)} {}
  ReplyBuffer(ReplyBuffer&& other) noexcept
      : pool_{std::exchange(other.pool_, nullptr)}, memory_{std::move(other.memory_)} {}
  ReplyBuffer& operator=(ReplyBuffer&&) = delete;
  ~ReplyBuffer();
  MutableByteSpan span() const { return memory_.span(); }

 private:
  ReplyBuffers* pool_;
  LockedMemory memory_;
};

/// Buffers for parked replies: made on demand up to a limit, then waited for without holding a thread.
/// Threads: `lend` may be called concurrently.
class ReplyBuffers {
 public:
  /// `limit` buffers of `size` bytes at most.
  ReplyBuffers(std::size_t size, std::size_t limit) : size_{size}, limit_{limit} {}

  /// Calls `use` with a buffer: now, or on the thread that gives one back. With no memory left, `use` gets the error.
  using Use = std::function<void(Result<ReplyBuffer>)>;
  void lend(Use use);

 private:
  friend class ReplyBuffer;
  void take_back(LockedMemory memory);

  const std::size_t size_, limit_;
  Mutex mutex_;
  std::vector<LockedMemory> idle_ GUARDED_BY(mutex_);
  std::deque<Use> waiting_ GUARDED_BY(mutex_);
  std::size_t made_ GUARDED_BY(mutex_) = 0;
};

}  // namespace stellarium::fs::fuse
