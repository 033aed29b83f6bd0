#include <algorithm>
#include <cstring>
#include <limits>

#include "fs/staging.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kCopiedAtOnce = 1u << 20;
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

}  // namespace

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
