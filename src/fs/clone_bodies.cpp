#include "fs/clone_bodies.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <shared_mutex>

#include "base/io.h"
#include "base/log.h"
#include "fs/body_reading.h"
#include "fs/clock.h"
#include "fs/exact_holes.h"
#include "fs/host_blocks.h"
#include "fs/places.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

constexpr std::uint32_t kTick = 10'000'000;  // ns: the longest that Linux is built with

Error with_errno(Errc code, const char* what, int sys_errno) {
  return Error{code, what, sys_errno};
}

Timespec later(Timespec time, std::uint32_t nanoseconds) {
  time.nanoseconds += nanoseconds;
  if (time.nanoseconds < 1'000'000'000) return time;
  return {time.seconds + 1, time.nanoseconds - 1'000'000'000};
}

}  // namespace

Result<void> refresh_staged(Staging& staging, Inode& inode) {
  if (inode.body != Body::staged) return {};
  const auto status = staging.status(inode.staged);
  if (!status) return fail(status.error());
  inode.size = static_cast<std::uint64_t>(status->st_size);
  inode.allocated = static_cast<std::uint64_t>(status->st_blocks) * 512;
  if (inode.base) inode.allocated = std::min(inode.allocated + inode.base.allocated, inode.size);
  // Our times are exact, the host's clock ticks: what a program wrote by itself right after the file was made must not
  // look older than that.
  const Timespec written = to_time(status->st_mtim);
  if (inode.mtime < written || later(written, kTick) < inode.mtime) inode.mtime = written;
  inode.ctime = std::max(inode.ctime, to_time(status->st_ctim));
  // The same for the time of writing (note_written) and the host's ctime.
  if (inode.ctime < inode.mtime && inode.mtime < later(inode.ctime, kTick)) inode.ctime = inode.mtime;
  return {};
}

CloneBodies::CloneBodies(WritableTree& tree, Staging& staging, tier::Tier& tier, cas::Database& database,
                         std::shared_ptr<CloneQuota> quota)
    : tree_{tree},
      staging_{staging},
      tier_{tier},
      database_{database},
      quota_{quota ? std::move(quota)
                   : std::make_shared<CloneQuota>(
                         CloneQuota::Parts{.database = database, .staging = staging, .tree = tree})},
      sparse_{{.tree = tree, .staging = staging, .tier = tier, .database = database, .quota = *quota_}},
      failures_told_{staging.failures()},
      cleaning_{staging.chores().add([this] { return clean_up(); })} {
  assert(database_.has_named_files() && "a sync of the log would not wait for staged files");
}

CloneBodies::~CloneBodies() {
  {
    const MutexLock lock{mutex_};
    ending_ = true;
  }
  cleaning_.reset();
  if (auto synced = sync(); !synced) log::warn("removing staged files: {}", to_string(synced.error()));
}

Result<void> CloneBodies::refresh(Ino ino, Inode& inode) const {
  for (;;) {
    auto known = refresh_staged(staging_, inode);
    if (known || !moved_on(ino, inode, known.error())) return known;
    auto now = tree_.inode(ino);
    if (!now) return fail(now.error());
    if (!*now) return known;
    inode = std::move(**now);
  }
}

bool CloneBodies::moved_on(Ino ino, const Inode& seen, const Error& error) const {
  return seen.body == Body::staged && was_replaced(ino, seen.staged, error);
}

bool CloneBodies::was_replaced(Ino ino, StagedId id, const Error& error) const {
  if (error.code != Errc::not_found) return false;
  const auto now = tree_.inode(ino);
  return now && *now && ((*now)->body != Body::staged || (*now)->staged != id);
}

bool CloneBodies::while_unused(Ino ino, StagedId id, const std::function<void()>& work) {
  const std::unique_lock lock{copying_[ino % copying_.size()], std::try_to_lock};
  if (!lock || staging_.users(id) != 0) return false;
  work();
  return true;
}

Result<std::size_t> CloneBodies::read(Ino ino, Inode& inode, std::uint64_t offset, MutableByteSpan out) {
  for (;;) {
    const auto done = [&]() -> Result<std::size_t> {
      if (!inode.base) return read_body({tier_, &staging_}, inode, offset, out);
      const auto file = staging_.find(inode.staged);
      return file ? sparse_.read(ino, **file, offset, out) : fail(file.error());
    }();
    if (done || !moved_on(ino, inode, done.error())) return done;
    if (auto known = look_again(ino, inode); !known) return fail(known.error());
  }
}

Result<std::optional<std::size_t>> CloneBodies::read_straight(Ino ino, Inode& inode, std::uint64_t offset,
                                                              MutableByteParts out) {
  while (inode.body == Body::staged && !inode.base) {
    const auto file = staging_.find(inode.staged);
    if (file) {
      const auto read = read_parts((*file)->fd(), out, offset);
      return read ? Result<std::optional<std::size_t>>{*read} : fail(read.error(), "a staged file");
    }
    if (!moved_on(ino, inode, file.error())) return fail(file.error());
    if (auto known = look_again(ino, inode); !known) return fail(known.error());
  }
  return std::nullopt;
}

Result<std::size_t> CloneBodies::write_sparse(Ino ino, Staging::File& file, ByteParts data, std::uint64_t offset) {
  if (data.size() == 1) return sparse_.write(ino, file, data.front(), offset);
  std::vector<std::byte> whole(size_of(data));
  gather(data, whole);
  return sparse_.write(ino, file, whole, offset);
}

Result<void> CloneBodies::look_again(Ino ino, Inode& inode) const {
  auto now = tree_.inode(ino);
  if (!now) return fail(now.error());
  if (!*now) return fail(with_errno(Errc::invalid_argument, "no such inode", ESTALE));
  inode = std::move(**now);
  return refresh(ino, inode);
}

Result<std::optional<tier::ContentRef>> CloneBodies::content_at(const Inode& inode, std::uint64_t offset,
                                                                std::uint64_t size) {
  const auto content = content_of(inode);
  if (!inode.base) return content;
  if (offset >= inode.base.shows || size > inode.base.shows - offset) return std::nullopt;
  const auto file = staging_.find(inode.staged);
  if (!file) return std::nullopt;  // whoever reads it finds out why
  if (auto ready = make_holes_exact(staging_, **file); !ready) return fail(ready.error());
  const std::shared_lock lock{(*file)->places()};
  const auto status = system_io().status((*file)->fd());
  const auto run = run_at((*file)->fd(), offset, offset + size);
  if (!status) return fail(status.error());
  if (!run) return fail(run.error());
  const bool all =
      !run->there && run->end == offset + size && offset + size <= static_cast<std::uint64_t>(status->st_size);
  return all ? content : std::nullopt;
}

Result<std::uint64_t> CloneBodies::seek(Ino ino, Inode& inode, std::uint64_t offset, bool data,
                                        const SparseBodies::NextInBase& next_in_base) {
  const auto file = staging_.find(inode.staged);
  if (!file) return fail(file.error());
  if (!inode.base) {
    const off_t found = ::lseek((*file)->fd(), static_cast<off_t>(offset), data ? SEEK_DATA : SEEK_HOLE);
    if (found >= 0) return static_cast<std::uint64_t>(found);
    return errno == ENXIO ? Result<std::uint64_t>{inode.size} : fail_errno("looking for holes of a staged file");
  }
  return sparse_.seek(ino, **file, offset, data, next_in_base);
}

Result<std::shared_ptr<Staging::File>> CloneBodies::writable(Ino ino, std::uint64_t keep) {
  auto written = written_body(ino, keep);
  if (!written) return fail(written.error());
  return std::move(written->file);
}

Result<CloneBodies::Written> CloneBodies::written_body(Ino ino, std::uint64_t keep) {
  const std::lock_guard lock{copying_[ino % copying_.size()]};
  const auto located = tree_.locate(ino);
  if (!located) return fail(located.error());
  if (!*located) return fail(with_errno(Errc::invalid_argument, "no such inode", ESTALE));
  const Inode& inode = (*located)->inode;
  if (!S_ISREG(inode.mode)) return fail(with_errno(Errc::invalid_argument, "no regular file", EINVAL));
  auto own = own_file(ino, **located);
  if (!own) return fail(own.error());
  // What is left of a sparse file that was cut short is copied once more: from then on it can be passed through.
  const bool cut = inode.base && keep <= kWholeCopy;
  if (*own && !cut) return Written{std::move(*own), static_cast<bool>(inode.base)};
  auto made = copy_up(ino, inode, keep);
  if (made && *own) drop(ino, inode);
  return made;
}

Result<std::shared_ptr<Staging::File>> CloneBodies::own(Ino ino) {
  const auto located = tree_.locate(ino);
  if (!located) return fail(located.error());
  if (!*located) return fail(with_errno(Errc::invalid_argument, "no such inode", ESTALE));
  return (*located)->inode.base ? FilePtr{} : own_file(ino, **located);
}

Result<std::shared_ptr<Staging::File>> CloneBodies::own_file(Ino ino, const LayerReader::Located& located) {
  const Inode& inode = located.inode;
  if (inode.body != Body::staged || located.layer != tree_.reader().layer()) return std::shared_ptr<Staging::File>{};
  const auto owned = owns(ino, inode.staged);
  if (!owned) return fail(owned.error());
  if (!*owned) return std::shared_ptr<Staging::File>{};
  return staging_.find(inode.staged);
}

Result<std::shared_ptr<Staging::File>> CloneBodies::create() {
  auto file = staging_.create();
  if (!file) return file;
  if (auto made = quota_->made(**file); !made) {
    discard((*file)->id());
    return fail(made.error());
  }
  return file;
}

void CloneBodies::discard(StagedId id) {
  quota_->gone(id);
  if (auto removed = staging_.remove(id); !removed) log::warn("{}", to_string(removed.error()));  // for the next sweep
}

Result<bool> CloneBodies::owns(Ino ino, StagedId id) const {
  if (tree_.reader().layers().size() <= 2) return true;  // below there is only the image
  const auto below = frozen(ino);
  if (!below) return fail(below.error());
  return !*below || (*below)->staged != id;
}

Result<std::optional<Inode>> CloneBodies::frozen(Ino ino) const {
  const std::vector<LayerId>& layers = tree_.reader().layers();
  return LayerReader{database_, {layers.begin() + 1, layers.end()}}.inode(ino);
}

/// Puts the first `size` bytes of a body into an empty file, or has its content show there; returns what shows.
Result<StagedBase> CloneBodies::fill(Staging::File& file, Ino ino, Inode& inode, std::uint64_t size) {
  if (may_be_sparse(size) && inode.body == Body::content) {
    const StagedBase base{inode.content, inode.size, size, std::min(inode.allocated, size)};
    const auto begun = sparse_.begin(file, base);
    if (!begun) return fail(begun.error());
    if (*begun) return base;
  }
  if (may_be_sparse(size) && inode.body == Body::staged) {
    auto copied = copy_staged(file, inode, size);
    if (copied || !moved_on(ino, inode, copied.error())) return copied;
    if (auto known = look_again(ino, inode); !known) return fail(known.error());
    return fill(file, ino, inode, size);
  }
  if (size == 0) return StagedBase{};
  const auto source = [&](std::uint64_t offset, MutableByteSpan out) { return read(ino, inode, offset, out); };
  if (auto copied = staging_.copy_into(file, size, source); !copied) return fail(copied.error());
  return StagedBase{};
}

/// A frozen layer's file: what it lies over, the copy lies over, too.
Result<StagedBase> CloneBodies::copy_staged(Staging::File& file, const Inode& inode, std::uint64_t size) {
  const auto from = staging_.find(inode.staged);
  if (!from) return fail(from.error());
  StagedBase base = inode.base;
  if (base) {
    if (auto ready = make_holes_exact(staging_, **from); !ready) return fail(ready.error());
    base.shows = std::min(base.shows, size);
    base.allocated = std::min(base.allocated, size);
    const auto begun = sparse_.begin(file, base);
    if (!begun) return fail(begun.error());
    if (!*begun) return fail(Errc::not_supported, "the host's file system does not know holes any more");
  }
  const std::shared_lock lock{(*from)->places()};
  if (auto copied = staging_.copy_file(file, (*from)->fd(), size, [] { return true; }); !copied)
    return fail(copied.error());
  return base;
}

Result<CloneBodies::Written> CloneBodies::copy_up(Ino ino, Inode inode, std::uint64_t keep) {
  if (auto known = refresh(ino, inode); !known) return fail(known.error());

  const std::uint64_t size = std::min(inode.size, keep);
  const bool sparse = may_be_sparse(size) && content_of(inode);
  const std::uint64_t shown = !sparse ? 0 : inode.base ? inode.base.allocated : inode.allocated;
  auto room = CloneQuota::Reservation::make(
      quota_.get(), std::min(whole_blocks(inode.allocated - std::min(shown, inode.allocated)), whole_blocks(size)));
  if (!room) return fail(room.error());
  auto file = create();
  if (!file) return fail(file.error());
  const auto give_up = [&](const Error& error) {
    discard((*file)->id());
    return fail(error);
  };
  const auto base = fill(**file, ino, inode, size);
  if (!base) return give_up(base.error());
  if (auto filled = room->filled(**file); !filled) return give_up(filled.error());
  // The time of writing goes along: what follows may be a chmod(2) by way of a write that changes nothing.
  const timespec times[2] = {{0, UTIME_OMIT}, {inode.mtime.seconds, static_cast<long>(inode.mtime.nanoseconds)}};
  if (::futimens((*file)->fd(), times) != 0) return give_up(fail_errno("a staged file's time").value());

  const CloneQuota::Weighing weighing{quota_.get(), {ino}};
  const SyncOrder::Change in_order{staging_.order()};
  staging_.note_unsynced((*file)->id());
  const auto changed = tree_.change(ino,
                                    [&](Inode& record) -> Result<void> {
                                      record.body = Body::staged;
                                      record.staged = (*file)->id();
                                      record.base = *base;
                                      record.size = record.allocated = size;
                                      record.inline_bytes.clear();
                                      record.content = {};
                                      return {};
                                    },
                                    {});
  if (!changed) return give_up(changed.error());
  return Written{std::move(*file), static_cast<bool>(*base)};
}

Result<std::size_t> CloneBodies::write(Ino ino, ByteParts data, std::uint64_t offset) {
  for (;;) {
    const auto body = written_body(ino);
    if (!body) return fail(body.error());
    const auto done =
        body->sparse ? write_sparse(ino, *body->file, data, offset) : quota_->write(*body->file, data, offset);
    if (!done && body->sparse && was_replaced(ino, body->file->id(), done.error())) continue;
    if (!done) return done;
    if (body->sparse) {
      note_written_sparsely(ino, *body->file, *done);
    } else if (const auto noted = Staging::note_written(*body->file); !noted) {
      return fail(noted.error());
    }
    return done;
  }
}

Result<void> CloneBodies::allocate(Ino ino, int mode, std::uint64_t offset, std::uint64_t length) {
  for (;;) {
    const auto body = written_body(ino);
    if (!body) return fail(body.error());
    auto done = body->sparse ? sparse_.allocate(ino, *body->file, mode, offset, length)
                             : quota_->allocate(*body->file, mode, offset, length);
    if (!done && body->sparse && was_replaced(ino, body->file->id(), done.error())) continue;
    return done && !body->sparse ? Staging::note_written(*body->file) : done;
  }
}

Result<void> CloneBodies::truncate(Ino ino, std::uint64_t size) {
  for (;;) {
    const auto body = written_body(ino, size);
    if (!body) return fail(body.error());
    auto done = body->sparse ? sparse_.truncate(ino, *body->file, size) : quota_->truncate(*body->file, size);
    if (!done && body->sparse && was_replaced(ino, body->file->id(), done.error())) continue;
    return done && !body->sparse ? Staging::note_written(*body->file) : done;
  }
}

Result<void> CloneBodies::unshare(Ino ino) {
  const auto located = tree_.locate(ino);
  if (!located) return fail(located.error());
  if (!*located || (*located)->inode.body != Body::staged) return {};
  const auto owned = (*located)->layer == tree_.reader().layer() ? owns(ino, (*located)->inode.staged) : false;
  if (!owned) return fail(owned.error());
  if (*owned) return {};
  if (auto file = writable(ino); !file) return fail(file.error());
  return {};
}

Result<void> CloneBodies::set_times(Inode& inode, bool written) {
  if (inode.body != Body::staged || !written) return {};
  const auto file = staging_.find(inode.staged);
  if (!file) return fail(file.error());
  const timespec times[2] = {{0, UTIME_OMIT}, {inode.mtime.seconds, static_cast<long>(inode.mtime.nanoseconds)}};
  if (::futimens((*file)->fd(), times) != 0) return fail_errno("a staged file's time");
  return {};
}

void CloneBodies::bound(const Inode& inode) {
  if (inode.body == Body::staged) staging_.note_unsynced(inode.staged);
}

void CloneBodies::took_over(const Inode& inode) {
  if (inode.body == Body::staged) staging_.begin_writing(inode.staged);
}

void CloneBodies::drop(Ino ino, const Inode& inode) {
  if (inode.body != Body::staged) return;
  const auto owned = owns(ino, inode.staged);
  if (!owned || !*owned) return;  // what cannot be told now, the next sweep removes
  quota_->gone(inode.staged);
  {
    const MutexLock lock{mutex_};
    dropped_.push_back(inode.staged);
  }
  cleaning_->ask();
}

Result<void> CloneBodies::sync() {
  std::vector<StagedId> dropped;
  {
    const MutexLock lock{mutex_};
    dropped.swap(dropped_);
  }
  if (auto synced = database_.sync(); !synced) {
    const MutexLock lock{mutex_};
    dropped_.insert(dropped_.end(), dropped.begin(), dropped.end());
    return synced;
  }
  remove_dropped(dropped);
  return {};
}

Result<void> CloneBodies::sync_all() {
  if (auto synced = sync(); !synced) return synced;
  const std::uint64_t failures = staging_.failures();
  if (failures_told_.exchange(failures) == failures) return {};
  return fail(with_errno(Errc::io, "bytes of a file could not be written to the disk", EIO));
}

Result<void> CloneBodies::sync(Ino ino) {
  const auto inode = tree_.inode(ino);
  if (!inode) return fail(inode.error());
  if (*inode && (*inode)->body == Body::staged) {
    // A file without a name is nobody's after a crash: its bytes may be on their way out already.
    const auto durable = staging_.make_durable((*inode)->staged);
    if (!durable && !moved_on(ino, **inode, durable.error()) &&
        ((*inode)->nlink != 0 || durable.error().code != Errc::not_found))
      return durable;
  }
  return tree_.is_unsynced(ino) ? sync() : Result<void>{};
}

void CloneBodies::remove_dropped(const std::vector<StagedId>& dropped) {
  for (const StagedId id : dropped) {
    if (auto removed = staging_.remove(id); !removed) log::warn("{}", to_string(removed.error()));
  }
}

void CloneBodies::note_written_sparsely(Ino ino, Staging::File& file, std::size_t bytes) {
  const std::uint64_t before = file.count_written(bytes);
  if (before >= kWorthCompleting || before + bytes < kWorthCompleting) return;
  {
    const MutexLock lock{mutex_};
    incomplete_.push_back({ino, file.id()});
  }
  cleaning_->ask();
}

/// Space of removed files comes back soon even if nobody syncs; files that are written much are completed.
bool CloneBodies::clean_up() {
  if (auto synced = sync(); !synced) log::warn("removing staged files: {}", to_string(synced.error()));
  complete_next();
  const MutexLock lock{mutex_};
  return !dropped_.empty() || !incomplete_.empty();
}

bool CloneBodies::is_ending() {
  const MutexLock lock{mutex_};
  return ending_;
}

/// The next part of the first file that is to be completed; whoever writes waits for no more than a piece of it.
void CloneBodies::complete_next() {
  Incomplete next;
  {
    const MutexLock lock{mutex_};
    if (incomplete_.empty()) return;
    next = incomplete_.front();
    incomplete_.pop_front();
  }
  for (std::uint64_t done = 0; done < kCompletedAtOnce; done += SparseBodies::kPiece) {
    if (is_ending()) return;
    const WriteGate::Pass pass{gate_};  // a snapshot's files stay as they are
    const auto located = tree_.locate(next.ino);
    if (!located || !*located || (*located)->inode.staged != next.file || !(*located)->inode.base) return;
    const auto file = own_file(next.ino, **located);
    if (!file || !*file || (*located)->inode.base.shows > kMaxCompleted || !quota_->may_pass_through()) return;
    const auto reached = sparse_.complete(next.ino, **file, next.from);
    if (!reached) {  // no room, or bytes that cannot be delivered: it stays as it is
      log::info("inode {} stays sparse: {}", next.ino, to_string(reached.error()));
      return;
    }
    if (!*reached) return;
    next.from = **reached;
  }
  const MutexLock lock{mutex_};
  incomplete_.push_back(next);
}

}  // namespace stellarium::fs
