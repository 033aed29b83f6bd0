#include "fs/snapshot_copies.h"

#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/io.h"
#include "base/log.h"
#include "fs/clock.h"

namespace stellarium::fs {
namespace {

bool equal_times(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool is_unchanged(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_size == b.st_size && equal_times(a.st_mtim, b.st_mtim) &&
         equal_times(a.st_ctim, b.st_ctim);
}

}  // namespace

SnapshotCopies::~SnapshotCopies() {
  for (const auto& [ino, copy] : copies_) discard(copy.staged);
}

void SnapshotCopies::discard(StagedId id) const {
  if (id == 0) return;
  if (auto removed = staging_.remove(id); !removed) log::warn("{}", to_string(removed.error()));  // for the next sweep
}

const SnapshotCopies::Copy* SnapshotCopies::find(Ino ino, StagedId live) const {
  const auto found = copies_.find(ino);
  return found != copies_.end() && found->second.live == live && found->second.staged != 0 ? &found->second : nullptr;
}

Result<bool> SnapshotCopies::is_current(const Copy& copy) const {
  if (!copy.exact) return false;
  const auto now = staging_.status(copy.live);
  if (!now) return fail(now.error());
  return is_unchanged(*now, copy.seen);
}

Result<void> SnapshotCopies::prepare(Ino ino, StagedId live, bool wait) {
  Copy& last = copies_[ino];
  if (last.live != live) {
    discard(last.staged);
    last = {.live = live};
  }
  while (last.attempts < kAttempts) {
    if (last.staged != 0) {
      const auto current = is_current(last);
      if (!current) return fail(current.error());
      if (*current) return {};
    }
    ++last.attempts;
    if (auto copied = copy(last, wait); !copied) return copied;
    if (last.exact || !wait) return {};
  }
  return {};
}

Result<void> SnapshotCopies::copy(Copy& into, bool wait) {
  const auto from = staging_.open_to_read(into.live);
  if (!from) return fail(from.error());
  auto before = system_io().status(from->get());
  if (before && wait && is_younger(*before, kClockTick)) {
    std::this_thread::sleep_for(kClockTick);
    before = system_io().status(from->get());
  }
  if (!before) return fail(before.error());
  const bool young = is_younger(*before, kClockTick);
  // From now on a store to a mapping makes its page dirty anew, and that changes times. A failure counts for all.
  if (auto written = staging_.make_durable(into.live); !written) return written;
  const auto made = staging_.create();
  if (!made) return fail(made.error());
  discard(into.staged);
  into.staged = (*made)->id();
  into.seen = *before;
  into.exact = false;
  const auto copied = staging_.copy_file(**made, from->get(), static_cast<std::uint64_t>(before->st_size), go_on_);
  const auto after = system_io().status(from->get());
  if (!after) return fail(after.error());
  into.exact = copied && !young && is_unchanged(*before, *after);
  if (!copied && copied.error().code != Errc::busy) return copied;
  const timespec times[2] = {{0, UTIME_OMIT}, before->st_mtim};
  if (::futimens((*made)->fd(), times) != 0) return fail_errno("a staged file's time");
  return {};
}

Inode SnapshotCopies::record_of(const Copy& copy, Inode record) {
  record.staged = copy.staged;
  record.size = static_cast<std::uint64_t>(copy.seen.st_size);
  record.allocated = std::min(static_cast<std::uint64_t>(copy.seen.st_blocks) * 512, record.size);
  record.mtime = to_time(copy.seen.st_mtim);
  record.ctime = std::max(record.ctime, to_time(copy.seen.st_ctim));
  return record;
}

void SnapshotCopies::take(const std::vector<Ino>& inodes) {
  for (const Ino ino : inodes) copies_.erase(ino);
}

}  // namespace stellarium::fs
