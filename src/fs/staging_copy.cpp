#include <fcntl.h>
#include <linux/fs.h>  // FICLONE
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "fs/staging.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kCopiedAtOnce = 1u << 20;
constexpr std::size_t kHostCopiesAtOnce = 64u << 20;
constexpr std::size_t kBlock = 4096;  // what the host's file systems can leave out

// Writes the runs of blocks that are not zero, each with one call.
Result<void> write_runs(Io& io, int fd, ByteSpan piece, std::uint64_t offset) {
  std::size_t begin = 0;  // of the run that has not been written yet
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t end = std::min(at + kBlock, piece.size());
    if (all_zero(piece.subspan(at, end - at))) {
      if (begin < at) {
        if (auto written = io.write_at(fd, piece.subspan(begin, at - begin), offset + begin); !written) return written;
      }
      begin = end;
    }
    at = end;
  }
  if (begin == piece.size()) return {};
  return io.write_at(fd, piece.subspan(begin), offset + begin);
}

/// The host's file systems say in many ways that they cannot copy by themselves.
bool cannot_copy(int sys_errno) {
  return sys_errno == EOPNOTSUPP || sys_errno == EXDEV || sys_errno == ENOSYS || sys_errno == EINVAL;
}

Result<void> copy_extent(Io& io, int target, int from, std::uint64_t begin, std::uint64_t end,
                         const std::function<bool()>& go_on) {
  std::vector<std::byte> buffer;  // where the host does not copy
  while (begin < end) {
    if (!go_on()) return fail(Errc::cancelled, "stopped");
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(end - begin, kHostCopiesAtOnce));
    auto in = static_cast<off_t>(begin), out = in;
    const ssize_t copied = buffer.empty() ? ::copy_file_range(from, &in, target, &out, wanted, 0) : -1;
    if (copied > 0) {
      begin += static_cast<std::uint64_t>(copied);
      continue;
    }
    if (copied == 0) return fail(Errc::busy, "a staged file became shorter while it was copied");
    if (buffer.empty() && errno == EINTR) continue;
    if (buffer.empty() && !cannot_copy(errno)) return fail_errno("copying a staged file");
    buffer.resize(kCopiedAtOnce);
    const auto piece = MutableByteSpan{buffer}.first(std::min(wanted, kCopiedAtOnce));
    const Result<std::size_t> got = io.read_at(from, piece, begin);
    if (!got) return fail(got.error());
    if (*got == 0) return fail(Errc::busy, "a staged file became shorter while it was copied");
    if (auto written = io.write_at(target, piece.first(*got), begin); !written) return written;
    begin += *got;
  }
  return {};
}

}  // namespace

Result<void> Staging::copy_file(File& target, int from, std::uint64_t size, const std::function<bool()>& go_on) {
  if (::ioctl(target.fd(), FICLONE, from) == 0) return io_.truncate(target.fd(), size);
  for (std::uint64_t at = 0; at < size;) {
    const off_t data = ::lseek(from, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // nothing but a hole behind it
    if (data < 0) return fail_errno("looking for holes");
    const off_t hole = ::lseek(from, data, SEEK_HOLE);
    if (hole < 0 && errno == ENXIO) return fail(Errc::busy, "a staged file became shorter while it was copied");
    if (hole < 0) return fail_errno("looking for holes");
    const std::uint64_t end = std::min(static_cast<std::uint64_t>(hole), size);
    if (static_cast<std::uint64_t>(data) >= end) break;
    if (auto copied = copy_extent(io_, target.fd(), from, static_cast<std::uint64_t>(data), end, go_on); !copied)
      return fail(copied.error(), "staging");
    at = end;
  }
  return io_.truncate(target.fd(), size);
}

Result<void> Staging::copy_into(File& target, std::uint64_t size, const Source& read) {
  if (size > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) {
    return fail(Errc::invalid_argument, "a staged file of " + std::to_string(size) + " bytes cannot be");
  }
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min<std::uint64_t>(size, kCopiedAtOnce)));
  for (std::uint64_t offset = 0; offset < size;) {
    const MutableByteSpan piece =
        std::span{buffer}.first(static_cast<std::size_t>(std::min<std::uint64_t>(size - offset, kCopiedAtOnce)));
    for (std::size_t have = 0; have < piece.size();) {
      const Result<std::size_t> got = read(offset + have, piece.subspan(have));
      if (!got) return fail(got.error());
      if (*got == 0 || *got > piece.size() - have) {
        return fail(Errc::io, "copying a content of " + std::to_string(size) + " bytes: it ends at " +
                                  std::to_string(offset + have));
      }
      have += *got;
    }
    if (auto written = write_runs(io_, target.fd(), piece, offset); !written) return fail(written.error(), "staging");
    offset += piece.size();
  }
  return io_.truncate(target.fd(), size);
}

}  // namespace stellarium::fs
