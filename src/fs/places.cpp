#include "fs/places.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/io.h"

namespace stellarium::fs {

Result<PlaceRun> run_at(int fd, std::uint64_t offset, std::uint64_t size) {
  const off_t data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return PlaceRun{size, false};
  if (data < 0) return fail_errno("looking for holes of a staged file");
  const auto from = static_cast<std::uint64_t>(data);
  if (from > offset) return PlaceRun{std::min(from, size), false};
  const off_t hole = ::lseek(fd, data, SEEK_HOLE);
  if (hole < 0) return fail_errno("looking for holes of a staged file");
  return PlaceRun{std::min(static_cast<std::uint64_t>(hole), size), true};
}

Result<void> read_over(int fd, std::uint64_t offset, MutableByteSpan out, const ReadBelow& below) {
  while (!out.empty()) {
    const auto run = run_at(fd, offset, offset + out.size());
    if (!run) return fail(run.error());
    const MutableByteSpan part = out.first(static_cast<std::size_t>(run->end - offset));
    if (run->there) {
      const auto read = system_io().read_at(fd, part, offset);
      if (!read) return fail(read.error());
      std::memset(part.data() + *read, 0, part.size() - *read);
    } else if (auto read = below(offset, part); !read) {
      return read;
    }
    out = out.subspan(part.size());
    offset += part.size();
  }
  return {};
}

Result<WholePlaces> whole_places(std::uint64_t offset, ByteSpan data, std::uint64_t limit, const ReadBelow& fill) {
  const std::uint64_t end = offset + data.size();
  const std::uint64_t first = place_begin(offset), last = std::max(end, std::min(place_end(end), limit));
  if (first == offset && last == end) return WholePlaces{offset, data};
  WholePlaces whole{.offset = first, .bytes = {}, .joined = std::vector<std::byte>(last - first)};
  const MutableByteSpan joined{whole.joined};
  const auto fill_place = [&](std::uint64_t place) {
    return fill(place, joined.subspan(place - first, std::min(kPlace, last - place)));
  };
  const std::uint64_t last_place = place_begin(last - 1);
  if (first != offset || last_place == first) {
    if (auto filled = fill_place(first); !filled) return fail(filled.error());
  }
  if (last != end && last_place != first) {
    if (auto filled = fill_place(last_place); !filled) return fail(filled.error());
  }
  std::memcpy(whole.joined.data() + (offset - first), data.data(), data.size());
  whole.bytes = whole.joined;
  return whole;
}

}  // namespace stellarium::fs
