#include "fs/clone_quota.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "fs/as_nobody.h"
#include "fs/host_blocks.h"

namespace stellarium::fs {
namespace {

constexpr std::uint64_t kGrant = 64u << 10;  // by which the host's limit follows the weight of records

}  // namespace

tl::unexpected<Error> CloneQuota::over() const {
  return fail(
      Error{Errc::out_of_space, "the clone's quota of " + std::to_string(limit_) + " bytes is used up", EDQUOT});
}

std::uint64_t CloneQuota::records() const {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(records_, 0));
}

Result<std::uint64_t> CloneQuota::used() {
  if (project_ == 0) return records() + staged_bytes_ + reserved_;
  const auto usage = parts_.host->usage(project_);
  if (!usage) return fail(usage.error());
  return records() + usage->bytes;
}

Result<std::uint64_t> CloneQuota::left() {
  if (auto counted = recount_if_frozen(); !counted) return fail(counted.error());
  const auto now = used();
  if (!now) return now;
  const std::uint64_t limit = limit_;
  return limit - std::min(limit, *now);
}

Result<void> CloneQuota::set(const std::optional<QuotaRecord>& record) {
  const std::lock_guard weighing{weighing_};
  const MutexLock lock{mutex_};
  if (!record) {
    if (project_ != 0) {
      if (auto lifted = parts_.host->limit(project_, 0); !lifted) return lifted;
    }
    limit_ = kNone;
    project_ = 0;
    staged_.clear();
    staged_bytes_ = 0;
    return {};
  }
  const std::uint32_t project = parts_.host != nullptr ? record->project : 0;
  const bool as_before = limited() && project_ == project;
  project_ = project;
  limit_ = record->limit;
  if (as_before && counted_ == parts_.tree.reader().layer()) return limit_host();
  return count();
}

Result<void> CloneQuota::recount() {
  if (!limited()) return {};
  const std::lock_guard weighing{weighing_};
  const MutexLock lock{mutex_};
  return count();
}

Result<void> CloneQuota::recount_if_frozen() {
  if (counted_ == parts_.tree.reader().layer()) return {};
  return count();
}

Result<void> CloneQuota::count() {
  const std::vector<LayerId> layers = parts_.tree.reader().layers();
  const auto own = OwnRecords::open(parts_.database, layers);
  if (!own) return fail(own.error());
  const auto total = own->total();
  if (!total) return fail(total.error(), "counting what a clone holds");
  records_ = static_cast<std::int64_t>(total->weight);
  staged_.clear();
  staged_bytes_ = 0;
  if (project_ != 0) {
    if (auto labelled = count_project(*own, *total); !labelled) return labelled;
  } else {
    for (const StagedId id : total->staged) {
      const auto status = parts_.staging.status(id);
      if (!status && status.error().code == Errc::not_found) continue;
      if (!status) return fail(status.error());
      note(id, static_cast<std::uint64_t>(status->st_blocks) * 512);
    }
  }
  counted_ = layers.front();
  return limit_host();
}

/// Files of the layers below may still have the label from when they were the clone's.
Result<void> CloneQuota::count_project(const OwnRecords& records, const OwnRecords::Total& total) {
  const auto label = [&](StagedId id, bool own) -> Result<void> {
    const auto fd = parts_.staging.open_to_read(id);
    if (!fd && fd.error().code == Errc::not_found) return {};
    if (!fd) return fail(fd.error());
    if (own) return parts_.host->label(fd->get(), project_);
    const auto now = parts_.host->label_of(fd->get());
    if (!now) return fail(now.error());
    return *now == project_ ? parts_.host->label(fd->get(), 0) : Result<void>{};
  };
  const auto below = records.staged_below();
  if (!below) return fail(below.error());
  for (const StagedId id : *below)
    if (auto done = label(id, false); !done) return done;
  for (const StagedId id : total.staged)
    if (auto done = label(id, true); !done) return done;
  return {};
}

Result<void> CloneQuota::limit_host() {
  if (project_ == 0) return {};
  granted_ = (records() / kGrant + 1) * kGrant;
  const std::uint64_t limit = limit_;
  return parts_.host->limit(project_, limit - std::min(limit - 1, granted_.load()));
}

Result<CloneQuota::Usage> CloneQuota::usage() {
  if (!limited()) return Usage{};
  const std::lock_guard weighing{weighing_};  // a change that was answered is weighed
  const MutexLock lock{mutex_};
  if (auto counted = recount_if_frozen(); !counted) return fail(counted.error());
  const auto now = used();
  if (!now) return fail(now.error());
  return Usage{limit_, *now};
}

Result<void> CloneQuota::admit(std::uint64_t bytes) {
  if (parts_.headroom != nullptr) {
    if (auto room = parts_.headroom->admit(bytes); !room) return room;
  }
  if (!limited()) return {};
  const MutexLock lock{mutex_};
  const auto room = left();
  if (!room) return fail(room.error());
  return bytes <= *room ? Result<void>{} : over();
}

CloneQuota::Weighing::Weighing(CloneQuota* quota, std::initializer_list<Ino> inodes) {
  if (quota == nullptr || !quota->limited()) return;
  quota_ = quota;
  lock_ = std::unique_lock{quota->weighing_};
  for (const Ino ino : inodes) add(ino);
}

void CloneQuota::Weighing::add(Ino ino) {
  if (!lock_ || std::ranges::find(inodes_, ino) != inodes_.end()) return;
  const auto own = OwnRecords::open(quota_->parts_.database, quota_->parts_.tree.reader().layers());
  const auto weight = own ? own->weight(ino) : fail(own.error());
  inodes_.push_back(ino);
  if (weight) before_ += *weight;  // what cannot be read, the change itself fails at
}

void CloneQuota::Weighing::add(Ino parent, std::string_view name) {
  if (!lock_) return;
  const auto entry = quota_->parts_.tree.reader().lookup(parent, name);
  if (entry && *entry) add((*entry)->ino);
}

void CloneQuota::Weighing::add_made(Ino ino) {
  if (lock_) inodes_.push_back(ino);
}

CloneQuota::Weighing::~Weighing() {
  if (!lock_) return;
  const auto own = OwnRecords::open(quota_->parts_.database, quota_->parts_.tree.reader().layers());
  if (!own) return;
  std::uint64_t after = 0;
  for (const Ino ino : inodes_) after += own->weight(ino).value_or(0);
  quota_->weigh(static_cast<std::int64_t>(after) - static_cast<std::int64_t>(before_));
}

void CloneQuota::weigh(std::int64_t difference) {
  if (difference == 0) return;
  records_ += difference;
  if (project_ == 0 || (records() < granted_ && records() + 2 * kGrant > granted_)) return;
  if (auto limited = limit_host(); !limited) log::error("{}", to_string(limited.error()));
}

void CloneQuota::note(StagedId id, std::uint64_t bytes) {
  std::uint64_t& known = staged_[id];
  staged_bytes_ = staged_bytes_ - known + bytes;
  known = bytes;
}

void CloneQuota::measure(const StagedFile& file) {
  if (const auto bytes = host_bytes(file.fd())) note(file.id(), *bytes);
}

Result<void> CloneQuota::made(const StagedFile& file) {
  const std::uint32_t project = project_;
  return project == 0 ? Result<void>{} : parts_.host->label(file.fd(), project);
}

void CloneQuota::gone(StagedId id) {
  if (!limited() || project_ != 0) return;
  const MutexLock lock{mutex_};
  const auto known = staged_.find(id);
  if (known == staged_.end()) return;
  staged_bytes_ -= known->second;
  staged_.erase(known);
}

/// At the mark, what the file has blocks for can still be written.
Result<void> CloneQuota::admit_on_host(int fd, std::uint64_t offset, std::uint64_t size) {
  if (parts_.headroom == nullptr) return {};
  auto room = parts_.headroom->admit(size);
  if (room) return room;
  const auto fits = fitting(fd, offset, size, 0);
  return fits && *fits == size ? Result<void>{} : room;
}

Result<std::size_t> CloneQuota::write(const StagedFile& file, ByteParts data, std::uint64_t offset) {
  const std::uint64_t size = size_of(data);
  if (auto room = admit_on_host(file.fd(), offset, size); !room) return fail(room.error());
  if (!limited()) return write_parts(file.fd(), data, offset);
  if (project_ != 0) {
    const AsNobody as_nobody;
    return write_parts(file.fd(), data, offset);
  }
  const MutexLock lock{mutex_};
  const auto room = left();
  if (!room) return fail(room.error());
  std::uint64_t fits = size;
  if (whole_blocks(size) + kHostBlock > *room) {
    const auto fitting_now = fitting(file.fd(), offset, size, *room);
    if (!fitting_now) return fail(fitting_now.error());
    fits = *fitting_now;
    if (fits == 0 && size != 0) return over();
  }
  auto written = write_parts(file.fd(), first_of(data, fits), offset);
  measure(file);
  return written;
}

Result<void> CloneQuota::allocate(const StagedFile& file, int mode, std::uint64_t offset, std::uint64_t length) {
  const bool grows = (mode & FALLOC_FL_PUNCH_HOLE) == 0;
  const auto call = [&]() -> Result<void> {
    if (::fallocate(file.fd(), mode, static_cast<off_t>(offset), static_cast<off_t>(length)) == 0) return {};
    return fail_errno("allocating blocks of a staged file");
  };
  if (grows) {
    if (auto room = admit_on_host(file.fd(), offset, length); !room) return room;
  }
  if (!limited()) return call();
  if (project_ != 0) {
    const AsNobody as_nobody;
    return call();
  }
  const MutexLock lock{mutex_};
  if (grows) {
    const auto room = left();
    if (!room) return fail(room.error());
    const auto fits = fitting(file.fd(), offset, length, *room);
    if (!fits) return fail(fits.error());
    if (*fits < length) return over();
  }
  auto done = call();
  measure(file);
  return done;
}

Result<void> CloneQuota::truncate(const StagedFile& file, std::uint64_t size) {
  const auto call = [&]() -> Result<void> {
    if (::ftruncate(file.fd(), static_cast<off_t>(size)) == 0) return {};
    return fail_errno("truncating a staged file");
  };
  if (!limited() || project_ != 0) return call();
  const MutexLock lock{mutex_};
  auto done = call();
  measure(file);
  return done;
}

Result<CloneQuota::Reservation> CloneQuota::Reservation::make(CloneQuota* quota, std::uint64_t bytes) {
  if (quota == nullptr) return Reservation{nullptr, 0};
  const std::uint64_t blocks = whole_blocks(bytes);
  if (blocks != 0 && quota->parts_.headroom != nullptr) {
    if (auto room = quota->parts_.headroom->admit(blocks); !room) return fail(room.error());
  }
  if (!quota->limited()) return Reservation{nullptr, 0};
  const MutexLock lock{quota->mutex_};
  const auto room = quota->left();
  if (!room) return fail(room.error());
  if (blocks > *room) return quota->over();
  quota->reserved_ += blocks;
  return Reservation{quota, blocks};
}

Result<void> CloneQuota::Reservation::filled(const StagedFile& file) {
  if (quota_ == nullptr || !quota_->limited()) return {};
  const MutexLock lock{quota_->mutex_};
  quota_->reserved_ -= std::exchange(bytes_, 0);
  if (quota_->project_ == 0) quota_->measure(file);
  const auto used = quota_->used();
  if (!used) return fail(used.error());
  return *used <= quota_->limit_ ? Result<void>{} : quota_->over();
}

CloneQuota::Reservation::~Reservation() {
  if (quota_ == nullptr || bytes_ == 0) return;
  const MutexLock lock{quota_->mutex_};
  quota_->reserved_ -= bytes_;
}

}  // namespace stellarium::fs
