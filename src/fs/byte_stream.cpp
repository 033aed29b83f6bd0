#include "fs/byte_stream.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace stellarium::fs {
namespace {

constexpr std::size_t kSendBytes = 256u << 10;

}  // namespace

Result<std::uint64_t> ByteOutput::send_from(int file, std::uint64_t offset, std::uint64_t size) {
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kSendBytes, size));
  std::uint64_t sent = 0;
  while (sent < size) {
    const std::size_t want = std::min<std::uint64_t>(buffer.size(), size - sent);
    const ssize_t n = ::pread(file, buffer.data(), want, static_cast<off_t>(offset + sent));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("reading");
    if (n == 0) break;
    if (const auto written = write(ByteSpan{buffer}.first(static_cast<std::size_t>(n))); !written)
      return fail(written.error());
    sent += static_cast<std::uint64_t>(n);
  }
  return sent;
}

}  // namespace stellarium::fs
