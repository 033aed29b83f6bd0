#include "base/large_bytes.h"

#include <sys/mman.h>

#include <new>
#include <utility>

namespace stellarium {
namespace {

constexpr std::size_t kHugePage = 2u << 20;

}  // namespace

LargeBytes::LargeBytes(std::size_t size) {
  if (size == 0) return;
  // Whole huge pages: the kernel aligns a mapping of them.
  const std::size_t whole = (size + kHugePage - 1) / kHugePage * kHugePage;
  void* const base = ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc{};
  (void)::madvise(base, whole, MADV_HUGEPAGE);  // a kernel without them serves small ones
  bytes_ = static_cast<std::byte*>(base);
  size_ = whole;
}

LargeBytes::LargeBytes(LargeBytes&& other) noexcept
    : bytes_{std::exchange(other.bytes_, nullptr)}, size_{std::exchange(other.size_, 0)} {}

LargeBytes& LargeBytes::operator=(LargeBytes&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(size_, other.size_);
  return *this;
}

LargeBytes::~LargeBytes() {
  if (bytes_ != nullptr) ::munmap(bytes_, size_);
}

}  // namespace stellarium
