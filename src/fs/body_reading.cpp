#include "fs/body_reading.h"

#include <algorithm>
#include <cstring>
#include <shared_mutex>

#include "base/io.h"
#include "fs/exact_holes.h"
#include "fs/places.h"

namespace stellarium::fs {
namespace {

std::size_t copied_bytes(std::string_view bytes, std::uint64_t offset, MutableByteSpan out) {
  if (offset >= bytes.size()) return 0;
  const auto part = bytes.substr(offset, out.size());
  std::memcpy(out.data(), part.data(), part.size());
  return part.size();
}

Result<std::size_t> read_staged(const BodySources& from, const Inode& inode, std::uint64_t offset,
                                MutableByteSpan out) {
  if (from.staging == nullptr) return fail(Errc::corrupt, "a body that is not in the store");
  const auto file = from.staging->find(inode.staged);
  if (!file) return fail(file.error());
  if (!inode.base) return system_io().read_at((*file)->fd(), out, offset);
  if (auto ready = make_holes_exact(*from.staging, **file); !ready) return fail(ready.error());
  const std::shared_lock lock{(*file)->places()};
  return read_over_base(from.tier, (*file)->fd(), inode.base, offset, out);
}

}  // namespace

Result<void> read_base(tier::Tier& tier, const StagedBase& base, std::uint64_t offset, MutableByteSpan out) {
  std::size_t shown = 0;
  if (offset < base.shows) {
    shown = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), base.shows - offset));
    const auto read = tier.read({base.content, base.size}, offset, out.first(shown));
    if (!read) return fail(read.error());
    if (*read != shown) return fail(Errc::corrupt, "a content is shorter than the record says that lies over it");
  }
  std::memset(out.data() + shown, 0, out.size() - shown);
  return {};
}

Result<std::size_t> read_over_base(tier::Tier& tier, int fd, const StagedBase& base, std::uint64_t offset,
                                   MutableByteSpan out) {
  const auto status = system_io().status(fd);
  if (!status) return fail(status.error());
  const auto size = static_cast<std::uint64_t>(status->st_size);
  if (offset >= size) return std::size_t{0};
  out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size - offset)));
  auto read = read_over(fd, offset, out,
                        [&](std::uint64_t at, MutableByteSpan part) { return read_base(tier, base, at, part); });
  if (!read) return fail(read.error());
  return out.size();
}

Result<std::size_t> read_body(const BodySources& from, const Inode& inode, std::uint64_t offset, MutableByteSpan out) {
  switch (inode.body) {
    case Body::none:
      return std::size_t{0};
    case Body::inline_:
      return copied_bytes(inode.inline_bytes, offset, out);
    case Body::content:
      return from.tier.read({inode.content, inode.size}, offset, out);
    case Body::staged:
      return read_staged(from, inode, offset, out);
  }
  return fail(Errc::corrupt, "a body of an unknown kind");
}

}  // namespace stellarium::fs
