#include "fs/sparse_bodies.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "fs/body_reading.h"
#include "fs/exact_holes.h"
#include "fs/places.h"

namespace stellarium::fs {
namespace {

constexpr std::uint64_t kZeroPiece = 256u << 10;

}  // namespace

Result<bool> SparseBodies::begin(StagedFile& file, const StagedBase& base) {
  const auto exact = has_hole_map(file.fd());
  if (!exact || !*exact) return exact;
  mark_holes_exact(file);
  file.set_durable_base(true);  // a record of before names no file that could grow
  if (::ftruncate(file.fd(), static_cast<off_t>(base.shows)) != 0) return fail_errno("making a staged file");
  return true;
}

/// What the record says now. The caller holds `file.places()`.
Result<SparseBodies::Shown> SparseBodies::look(Ino ino, const StagedFile& file) const {
  const auto inode = parts_.tree.inode(ino);
  if (!inode) return fail(inode.error());
  if (!*inode || (*inode)->body != Body::staged || (*inode)->staged != file.id())
    return fail(Errc::not_found, "the record names another file by now");
  const auto status = system_io().status(file.fd());
  if (!status) return fail(status.error());
  return Shown{(*inode)->base, static_cast<std::uint64_t>(status->st_size)};
}

Result<std::size_t> SparseBodies::read(Ino ino, StagedFile& file, std::uint64_t offset, MutableByteSpan out) {
  if (auto ready = make_holes_exact(parts_.staging, file); !ready) return fail(ready.error());
  const std::shared_lock lock{file.places()};
  const auto shown = look(ino, file);
  if (!shown) return fail(shown.error());
  return read_over_base(parts_.tier, file.fd(), shown->base, offset, out);
}

/// The file is as the record will say, and comes to the disk before it.
Result<void> SparseBodies::set_base(Ino ino, StagedFile& file, const StagedBase& base) {
  const SyncOrder::Change in_order{parts_.staging.order()};
  parts_.staging.note_unsynced(file.id());
  const auto changed = parts_.tree.change(ino,
                                          [&](Inode& record) -> Result<void> {
                                            record.base = base;
                                            return {};
                                          },
                                          {});
  return changed ? Result<void>{} : fail(changed.error());
}

Result<void> SparseBodies::show_less(Ino ino, StagedFile& file, Shown& shown, std::uint64_t shows) {
  if (shows >= shown.base.shows) return {};
  shown.base.shows = shows;
  shown.base.allocated = std::min(shown.base.allocated, shows);
  if (shows == 0) shown.base = {};
  file.set_durable_base(false);
  return set_base(ino, file, shown.base);
}

/// A truncation that a crash broke off left it to the file's end to hide the rest of the content.
Result<void> SparseBodies::before_growing(Ino ino, StagedFile& file, Shown& shown, std::uint64_t end) {
  if (end <= shown.size) return {};
  const bool hides = shown.size < shown.base.shows;
  if (auto less = show_less(ino, file, shown, shown.size); !less) return less;
  if (file.has_durable_base() || (!hides && shown.base.shows == shown.base.size)) return {};
  if (auto synced = parts_.database.sync(); !synced) return synced;
  file.set_durable_base(true);
  return {};
}

/// Places that it fills only in part and that are not there yet get their other bytes from the content.
Result<std::size_t> SparseBodies::put(const StagedFile& file, const Shown& shown, ByteSpan data, std::uint64_t offset) {
  if (data.empty() || place_begin(offset) >= shown.base.shows) return parts_.quota.write(file, data, offset);
  const std::uint64_t end = offset + data.size();
  const auto whole = whole_places(offset, data, shown.size, [&](std::uint64_t at, MutableByteSpan part) {
    const auto read = read_over_base(parts_.tier, file.fd(), shown.base, at, part);
    return read ? Result<void>{} : fail(read.error());
  });
  if (!whole) return fail(whole.error());
  const auto written = parts_.quota.write(file, whole->bytes, whole->offset);
  if (!written) return written;
  std::uint64_t reached = whole->offset + *written;
  if (*written < whole->bytes.size() && reached % kPlace != 0) {
    // It has a block by now, so the rest of that place fits: without it, zeros would hide the content.
    const auto rest =
        whole->bytes.subspan(*written, std::min(place_end(reached), whole->offset + whole->bytes.size()) - reached);
    if (auto finished = system_io().write_at(file.fd(), rest, reached); !finished) return fail(finished.error());
    reached += rest.size();
  }
  if (reached <= offset) return fail(Error{Errc::out_of_space, "no room for all of a place", ENOSPC});
  return static_cast<std::size_t>(std::min(reached, end) - offset);
}

Result<std::size_t> SparseBodies::write(Ino ino, StagedFile& file, ByteSpan data, std::uint64_t offset) {
  if (auto ready = make_holes_exact(parts_.staging, file); !ready) return fail(ready.error());
  const std::unique_lock lock{file.places()};
  auto shown = look(ino, file);
  if (!shown) return fail(shown.error());
  if (auto grown = before_growing(ino, file, *shown, offset + data.size()); !grown) return fail(grown.error());
  const auto written = put(file, *shown, data, offset);
  if (!written) return written;
  if (auto noted = Staging::note_written(file); !noted) return fail(noted.error());
  return written;
}

Result<void> SparseBodies::truncate(Ino ino, StagedFile& file, std::uint64_t size) {
  if (auto ready = make_holes_exact(parts_.staging, file); !ready) return ready;
  const std::unique_lock lock{file.places()};
  auto shown = look(ino, file);
  if (!shown) return fail(shown.error());
  if (auto grown = before_growing(ino, file, *shown, size); !grown) return grown;
  if (auto cut = parts_.quota.truncate(file, size); !cut) return cut;
  if (auto noted = Staging::note_written(file); !noted) return noted;
  return show_less(ino, file, *shown, size);
}

Result<void> SparseBodies::put_zeros(const StagedFile& file, const Shown& shown, std::uint64_t begin,
                                     std::uint64_t end) {
  static const std::vector<std::byte> zeros(kZeroPiece);
  while (begin < end) {
    const std::uint64_t length = std::min(end, place_begin(begin) + kZeroPiece) - begin;
    const auto written = put(file, shown, ByteSpan{zeros}.first(static_cast<std::size_t>(length)), begin);
    if (!written) return fail(written.error());
    begin += *written;
  }
  return {};
}

/// What is not there of [begin, end) is written with what it shows.
Result<void> SparseBodies::put_shown(const StagedFile& file, const Shown& shown, std::uint64_t begin,
                                     std::uint64_t end) {
  std::vector<std::byte> piece;
  for (std::uint64_t at = begin; at < end;) {
    const auto run = run_at(file.fd(), at, end);
    if (!run) return fail(run.error());
    for (; !run->there && at < run->end; at += piece.size()) {
      piece.resize(static_cast<std::size_t>(std::min(kZeroPiece, run->end - at)));
      if (auto read = read_base(parts_.tier, shown.base, at, piece); !read) return read;
      const auto written = parts_.quota.write(file, piece, at);
      if (!written) return fail(written.error());
      if (*written != piece.size()) return fail(Error{Errc::out_of_space, "no room for a staged file", ENOSPC});
    }
    at = run->end;
  }
  return {};
}

Result<void> SparseBodies::allocate(Ino ino, StagedFile& file, int mode, std::uint64_t offset, std::uint64_t length) {
  if (auto ready = make_holes_exact(parts_.staging, file); !ready) return ready;
  const std::unique_lock lock{file.places()};
  auto shown = look(ino, file);
  if (!shown) return fail(shown.error());
  const bool zeros = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
  const std::uint64_t end = offset + length;
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0) {
    if (auto grown = before_growing(ino, file, *shown, end); !grown) return grown;
  }
  const std::uint64_t shows = std::min(shown->base.shows, shown->size);
  // To the last place that shows anything, but not behind the file's end.
  const std::uint64_t last = offset < shows ? std::min({end, place_end(shows), shown->size}) : offset;
  if (offset < last) {
    auto put = zeros ? put_zeros(file, *shown, offset, last)
                     : put_shown(file, *shown, place_begin(offset), std::min(place_end(last), shown->size));
    if (!put) return put;
  }
  const std::uint64_t rest = zeros ? last : offset;
  if (rest < end) {
    if (auto done = parts_.quota.allocate(file, mode, rest, end - rest); !done) return done;
  }
  return Staging::note_written(file);
}

Result<std::optional<std::uint64_t>> SparseBodies::complete(Ino ino, StagedFile& file, std::uint64_t from) {
  if (auto ready = make_holes_exact(parts_.staging, file); !ready) return fail(ready.error());
  {
    const std::unique_lock lock{file.places()};
    const auto shown = look(ino, file);
    if (!shown) return fail(shown.error());
    const std::uint64_t shows = std::min(shown->base.shows, shown->size), end = std::min(from + kPiece, shows);
    if (from < end) {
      const auto status = system_io().status(file.fd());
      if (!status) return fail(status.error());
      if (auto put = put_shown(file, *shown, from, end); !put) return fail(put.error());
      const timespec times[2] = {{0, UTIME_OMIT}, status->st_mtim};
      if (::futimens(file.fd(), times) != 0) return fail_errno("a staged file's time");
      return std::optional{end};
    }
  }
  // Nobody makes holes where the content shows, so nothing is missing any more. Not with the lock: it may take long.
  if (auto durable = parts_.staging.make_durable(file.id()); !durable) return fail(durable.error());
  const std::unique_lock lock{file.places()};
  if (const auto shown = look(ino, file); !shown) return fail(shown.error());
  if (auto set = set_base(ino, file, {}); !set) return fail(set.error());
  return std::optional<std::uint64_t>{};
}

Result<std::uint64_t> SparseBodies::seek(Ino ino, StagedFile& file, std::uint64_t offset, bool data,
                                         const NextInBase& next_in_base) {
  if (auto ready = make_holes_exact(parts_.staging, file); !ready) return fail(ready.error());
  const std::shared_lock lock{file.places()};
  const auto shown = look(ino, file);
  if (!shown) return fail(shown.error());
  const std::uint64_t size = shown->size, shows = std::min(shown->base.shows, size);
  for (std::uint64_t at = offset; at < size;) {
    const auto run = run_at(file.fd(), at, size);
    if (!run) return fail(run.error());
    if (run->there && data) return at;
    if (!run->there) {
      if (!data && at >= shows) return at;
      const std::uint64_t end = std::min(run->end, shows);
      const auto next = at < end ? next_in_base(shown->base, at) : end;
      if (!next) return next;
      if (*next < end) return *next;
      if (!data && end < run->end) return std::max(at, end);
    }
    at = run->end;
  }
  return size;
}

}  // namespace stellarium::fs
