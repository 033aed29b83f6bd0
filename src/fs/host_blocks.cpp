#include "fs/host_blocks.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <span>

namespace stellarium::fs {
namespace {

struct BlockRun {
  std::uint64_t begin = 0, end = 0;
};

/// The first extents with blocks that end behind `from`, at most as many as `found` has room for; no value if nobody
/// can tell, and errno says why.
template <std::size_t kMost>
std::optional<std::size_t> read_extents(int fd, std::uint64_t from, std::uint64_t end,
                                        std::array<fiemap_extent, kMost>& found) {
  alignas(fiemap) std::array<std::byte, sizeof(fiemap) + sizeof found> space;
  auto* map = new (space.data()) fiemap{};
  map->fm_start = from;
  map->fm_length = end - from;
  map->fm_extent_count = kMost;
  if (::ioctl(fd, FS_IOC_FIEMAP, map) != 0) return std::nullopt;
  std::memcpy(found.data(), space.data() + sizeof(fiemap), map->fm_mapped_extents * sizeof(fiemap_extent));
  return map->fm_mapped_extents;
}

/// Nothing if there is none; `can_tell` is false if nobody can tell.
std::optional<BlockRun> next_extent_by_map(int fd, std::uint64_t from, std::uint64_t end, bool& can_tell) {
  std::array<fiemap_extent, 1> found;
  const auto count = read_extents(fd, from, end, found);
  can_tell = count.has_value();
  if (!can_tell || *count == 0) return std::nullopt;
  return BlockRun{found[0].fe_logical, found[0].fe_logical + found[0].fe_length};
}

std::optional<BlockRun> next_extent_by_holes(int fd, std::uint64_t from) {
  const off_t data = ::lseek(fd, static_cast<off_t>(from), SEEK_DATA);
  if (data < 0) return std::nullopt;
  const off_t hole = ::lseek(fd, data, SEEK_HOLE);
  if (hole < 0) return std::nullopt;
  return BlockRun{static_cast<std::uint64_t>(data), whole_blocks(static_cast<std::uint64_t>(hole))};
}

}  // namespace

Result<std::uint64_t> fitting(int fd, std::uint64_t offset, std::uint64_t size, std::uint64_t room) {
  const std::uint64_t end = offset + size;
  const std::uint64_t last = whole_blocks(end);
  bool by_map = true;
  for (std::uint64_t at = offset / kHostBlock * kHostBlock; at < last;) {
    std::optional<BlockRun> extent;
    if (by_map) extent = next_extent_by_map(fd, at, last, by_map);
    if (!by_map) extent = next_extent_by_holes(fd, at);
    const std::uint64_t begin = extent ? std::clamp(extent->begin, at, last) : last;
    const std::uint64_t missing = begin - at;
    if (missing > room) {
      const std::uint64_t stop = at + room / kHostBlock * kHostBlock;
      return stop <= offset ? 0 : std::min(stop, end) - offset;
    }
    room -= missing;
    at = extent ? std::max(std::min(extent->end, last), begin) : last;
    if (extent && at == begin && begin < last) return fail(Errc::io, "the host names an extent of no bytes");
  }
  return size;
}

Result<void> punch_unwritten(int fd) {
  std::array<fiemap_extent, 256> found;
  for (std::uint64_t at = 0;;) {
    const auto count = read_extents(fd, at, std::numeric_limits<std::int64_t>::max(), found);
    if (!count && (errno == EOPNOTSUPP || errno == ENOTTY)) return {};
    if (!count) return fail_errno("the extents of a staged file");
    if (*count == 0) return {};
    for (const fiemap_extent& extent : std::span{found}.first(*count)) {
      if (extent.fe_logical + extent.fe_length <= at) return fail(Errc::io, "the host names an extent of no bytes");
      at = extent.fe_logical + extent.fe_length;
      if ((extent.fe_flags & FIEMAP_EXTENT_UNWRITTEN) == 0) continue;
      if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(extent.fe_logical),
                      static_cast<off_t>(extent.fe_length)) != 0)
        return fail_errno("freeing a part of a staged file");
    }
    if ((found[*count - 1].fe_flags & FIEMAP_EXTENT_LAST) != 0) return {};
  }
}

Result<std::uint64_t> host_bytes(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail_errno("a staged file");
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

}  // namespace stellarium::fs
