#include "cas/frame_buffers.h"

#include <cassert>
#include <cstring>
#include <utility>

namespace stellarium::cas {
namespace {

constexpr std::size_t kSlabBytes = 2u << 20;  // a huge page

}  // namespace

FrameBuffer::FrameBuffer(std::size_t size) : bytes_{new std::byte[size]}, size_{size}, room_{size} {}

FrameBuffer::FrameBuffer(FrameBuffer&& other) noexcept
    : from_{std::move(other.from_)},
      bytes_{std::exchange(other.bytes_, nullptr)},
      size_{std::exchange(other.size_, 0)},
      room_{std::exchange(other.room_, 0)} {}

FrameBuffer& FrameBuffer::operator=(FrameBuffer&& other) noexcept {
  std::swap(from_, other.from_);
  std::swap(bytes_, other.bytes_);
  std::swap(size_, other.size_);
  std::swap(room_, other.room_);
  return *this;
}

FrameBuffer::~FrameBuffer() {
  if (from_ != nullptr) {
    from_->give_back(bytes_);
  } else {
    delete[] bytes_;
  }
}

void FrameBuffer::resize(std::size_t size) {
  assert(size <= room_);
  size_ = size;
}

void FrameBuffer::append(ByteSpan bytes) {
  assert(bytes.size() <= room_ - size_);
  std::memcpy(bytes_ + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

FrameBuffer FrameBuffers::take() {
  const MutexLock lock{mutex_};
  if (idle_.empty()) {
    const LargeBytes& slab = slabs_.emplace_back(kSlabBytes);
    for (std::size_t at = 0; at + room_ <= kSlabBytes; at += room_) idle_.push_back(slab.data() + at);
  }
  FrameBuffer buffer{shared_from_this(), idle_.back(), room_};
  idle_.pop_back();
  return buffer;
}

FrameBuffer FrameBuffers::take(std::size_t size) {
  if (size <= room_ / 2) return FrameBuffer{size};
  FrameBuffer buffer = take();
  buffer.resize(size);
  return buffer;
}

void FrameBuffers::give_back_memory() {
  const MutexLock lock{mutex_};
  if (idle_.size() != slabs_.size() * (kSlabBytes / room_)) return;
  idle_.clear();
  slabs_.clear();
}

void FrameBuffers::give_back(std::byte* bytes) {
  const MutexLock lock{mutex_};
  idle_.push_back(bytes);
}

}  // namespace stellarium::cas
