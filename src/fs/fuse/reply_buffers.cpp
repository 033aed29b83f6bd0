#include "fs/fuse/reply_buffers.h"

#include <sys/mman.h>

#include <optional>

namespace stellarium::fs::fuse {

Result<LockedMemory> LockedMemory::make(std::size_t size) {
  void* base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (base == MAP_FAILED) return fail_errno("reserving a reply buffer");
  (void)::mlock(base, size);  // may be above RLIMIT_MEMLOCK; populated is nearly as good
  return LockedMemory{static_cast<std::byte*>(base), size};
}

LockedMemory& LockedMemory::operator=(LockedMemory&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(size_, other.size_);
  return *this;
}

LockedMemory::~LockedMemory() {
  if (base_ != nullptr) ::munmap(base_, size_);
}

ReplyBuffer::~ReplyBuffer() {
  if (pool_ != nullptr) pool_->take_back(std::move(memory_));
}

void ReplyBuffers::lend(Use use) {
  std::optional<LockedMemory> memory;
  {
    const MutexLock lock{mutex_};
    if (!idle_.empty()) {
      memory = std::move(idle_.back());
      idle_.pop_back();
    } else if (made_ == limit_) {
      waiting_.push_back(std::move(use));
      return;
    } else {
      ++made_;
    }
  }
  if (memory) {
    use(ReplyBuffer{*this, std::move(*memory)});
    return;
  }
  Result<LockedMemory> made = LockedMemory::make(size_);
  if (made) {
    use(ReplyBuffer{*this, std::move(*made)});
    return;
  }
  {
    const MutexLock lock{mutex_};
    --made_;
  }
  use(fail(made.error()));
}

void ReplyBuffers::take_back(LockedMemory memory) {
  Use next;
  {
    const MutexLock lock{mutex_};
    if (waiting_.empty()) {
      idle_.push_back(std::move(memory));
      return;
    }
    next = std::move(waiting_.front());
    waiting_.pop_front();
  }
  next(ReplyBuffer{*this, std::move(memory)});
}

}  // namespace stellarium::fs::fuse
