#pragma once
#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace stellarium {

/// Memory that nobody set to zero: for a vector that is resized and then overwritten, the zeros are a pass for nothing.
template <typename T>
struct Uninitialized : std::allocator<T> {
  template <typename U>
  struct rebind {
    using other = Uninitialized<U>;
  };
  template <typename U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;
  }
  template <typename U, typename... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
};

/// `resize` leaves the new bytes as they happen to be. Copies are made byte by byte: fill it through `data()`.
using RawBytes = std::vector<std::byte, Uninitialized<std::byte>>;

}  // namespace stellarium
