#include "base/mapped_file.h"

#include <sys/mman.h>

#include <utility>

namespace stellarium {

Result<MappedFile> MappedFile::of(int fd, std::size_t size) {
  if (size == 0) return MappedFile{};
  const void* const base = ::mmap(nullptr, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (base == MAP_FAILED) return fail_errno("mapping a file");
  return MappedFile{ByteSpan{static_cast<const std::byte*>(base), size}};
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_{std::exchange(other.bytes_, {})} {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace stellarium
