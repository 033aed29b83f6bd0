#include "cas/frame_buffers.h"

#include <cassert>
#include <cstring>
#include <utility>

#include "cas/frame_format.h"

namespace stellarium::cas {
namespace {

constexpr std::size_t kSlabBytes = 2u << 20;  // a huge page

}  // namespace

FrameBuffer::FrameBuffer(FrameBuffer&& other) noexcept
    : from_{std::move(other.from_)},
      bytes_{std::exchange(other.bytes_, nullptr)},
      size_{std::exchange(other.size_, 0)} {}

FrameBuffer& FrameBuffer::operator=(FrameBuffer&& other) noexcept {
  std::swap(from_, other.from_);
  std::swap(bytes_, other.bytes_);
  std::swap(size_, other.size_);
  return *this;
}

FrameBuffer::~FrameBuffer() {
  if (bytes_ != nullptr) from_->give_back(bytes_);
}

void FrameBuffer::resize(std::size_t size) {
  assert(bytes_ != nullptr && size <= kMaxContainer);
  size_ = size;
}

void FrameBuffer::append(ByteSpan bytes) {
  assert(bytes_ != nullptr && bytes.size() <= kMaxContainer - size_);
  std::memcpy(bytes_ + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

FrameBuffer FrameBuffers::take() {
  const MutexLock lock{mutex_};
  if (idle_.empty()) {
    const LargeBytes& slab = slabs_.emplace_back(kSlabBytes);
    for (std::size_t at = 0; at + kMaxContainer <= kSlabBytes; at += kMaxContainer) idle_.push_back(slab.data() + at);
  }
  FrameBuffer buffer{shared_from_this(), idle_.back()};
  idle_.pop_back();
  return buffer;
}

void FrameBuffers::give_back(std::byte* bytes) {
  const MutexLock lock{mutex_};
  idle_.push_back(bytes);
}

}  // namespace stellarium::cas
