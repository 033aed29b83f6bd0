#include "base/byte_parts.h"

#include <limits.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace stellarium {
namespace {

template <typename Part>
std::uint64_t sum_of(std::span<const Part> parts) {
  std::uint64_t size = 0;
  for (const Part& part : parts) size += part.size();
  return size;
}

template <typename Part>
std::vector<Part> beginning_of(std::span<const Part> parts, std::uint64_t size) {
  std::vector<Part> first;
  for (const Part& part : parts) {
    if (size == 0) break;
    first.push_back(part.first(std::min<std::uint64_t>(part.size(), size)));
    size -= first.back().size();
  }
  return first;
}

template <typename Part>
std::vector<iovec> vectors_of(std::span<const Part> parts) {
  std::vector<iovec> vectors;
  vectors.reserve(parts.size());
  for (const Part& part : parts)
    if (!part.empty()) vectors.push_back({const_cast<std::byte*>(part.data()), part.size()});
  return vectors;
}

/// Moves all of the vectors by calls that may move less than they were asked to.
template <typename Call>
Result<std::size_t> move_all(std::vector<iovec> vectors, std::uint64_t offset, const char* what, const Call& call) {
  std::size_t done = 0;
  for (std::span<iovec> left{vectors}; !left.empty();) {
    const auto count = static_cast<int>(std::min<std::size_t>(left.size(), IOV_MAX));
    const ssize_t n = call(left.data(), count, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && done == 0) return fail_errno(what);
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
    for (auto moved = static_cast<std::size_t>(n); moved > 0;) {
      iovec& first = left.front();
      const std::size_t here = std::min(moved, first.iov_len);
      first.iov_base = static_cast<std::byte*>(first.iov_base) + here;
      first.iov_len -= here;
      moved -= here;
      if (first.iov_len == 0) left = left.subspan(1);
    }
  }
  return done;
}

}  // namespace

std::uint64_t size_of(ByteParts parts) {
  return sum_of(parts);
}
std::uint64_t size_of(MutableByteParts parts) {
  return sum_of(parts);
}

std::vector<ByteSpan> first_of(ByteParts parts, std::uint64_t size) {
  return beginning_of(parts, size);
}
std::vector<MutableByteSpan> first_of(MutableByteParts parts, std::uint64_t size) {
  return beginning_of(parts, size);
}

void gather(ByteParts parts, MutableByteSpan into) {
  for (const ByteSpan part : parts) {
    if (!part.empty()) std::memcpy(into.data(), part.data(), part.size());
    into = into.subspan(part.size());
  }
}

Result<std::size_t> read_parts(int fd, MutableByteParts parts, std::uint64_t offset) {
  return move_all(vectors_of(parts), offset, "reading",
                  [fd](const iovec* vectors, int count, off_t at) { return ::preadv(fd, vectors, count, at); });
}

Result<std::size_t> write_parts(int fd, ByteParts parts, std::uint64_t offset) {
  return move_all(vectors_of(parts), offset, "writing",
                  [fd](const iovec* vectors, int count, off_t at) { return ::pwritev(fd, vectors, count, at); });
}

}  // namespace stellarium
