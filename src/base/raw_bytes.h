#pragma once
#include <cstddef>
#include <memory>

namespace stellarium {

/// Memory of a fixed size that nobody set to zero: where all of it is overwritten at once, the zeros are a pass for
/// nothing. Movable, not copyable.
class RawBytes {
 public:
  RawBytes() = default;
  explicit RawBytes(std::size_t size) : bytes_{std::make_unique_for_overwrite<std::byte[]>(size)}, size_{size} {}

  std::byte* data() { return bytes_.get(); }
  const std::byte* data() const { return bytes_.get(); }
  std::size_t size() const { return size_; }
  std::byte* begin() { return data(); }
  std::byte* end() { return data() + size_; }
  const std::byte* begin() const { return data(); }
  const std::byte* end() const { return data() + size_; }
  std::byte& operator[](std::size_t at) { return bytes_[at]; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_ = 0;  // moved-from objects are only destroyed or assigned to
};

}  // namespace stellarium
