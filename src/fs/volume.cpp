#include "fs/volume.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "fs/clock.h"
#include "fs/exact_holes.h"
#include "fs/families.h"

namespace stellarium::fs {
namespace {

constexpr std::uint64_t kWindow = 16384;  // blocks whose extents are listed at once: 1 GiB
constexpr std::uint64_t kFirstStep = 16;  // of a search through them, which mostly ends soon
constexpr std::uint64_t kZeros = 64u << 10;

std::uint64_t block_begin(std::uint64_t offset) {
  return offset - offset % kVolumeBlock;
}
std::uint64_t block_end(std::uint64_t offset) {
  return block_begin(offset + kVolumeBlock - 1);
}
std::uint64_t bytes_of(const Extent& extent, std::uint64_t size, std::uint64_t block) {
  return extent.is_zeros() ? 0 : volume_block_length(size, block * kVolumeBlock);
}

Error no_hole_map() {
  return Error{Errc::not_supported,
               "volumes need a file system that knows holes of 4 KiB (ext4, XFS, btrfs) under the store", EOPNOTSUPP};
}

}  // namespace

Result<std::shared_ptr<Volume>> Volume::open(const Parts& parts, std::string name, VolumeRecord record) {
  auto map = BlockMap::open(parts.database, record.map);
  if (!map) return fail(map.error(), "volume " + name);
  std::shared_ptr<Volume> volume{new Volume{parts, std::move(name), std::move(record), std::move(*map)}};
  if (volume->record_.staged != 0) {
    auto staged = parts.staging.find(volume->record_.staged);
    // Without it the volume would show older bytes as if they were the last.
    if (!staged)
      return fail(Errc::corrupt,
                  "volume " + volume->name_ + ": what was written last is lost: " + to_string(staged.error()));
    volume->staged_ = std::move(*staged);
    if (auto exact = make_holes_exact(parts.staging, *volume->staged_); !exact)
      return fail(exact.error(), "volume " + volume->name_);
  }
  return volume;
}

VolumeRecord Volume::record() const {
  const std::shared_lock lock{lock_};
  return record_;
}

Result<void> Volume::usable() const {
  if (broken_) return fail(Errc::io, "volume " + name_ + ": a write broke off in the middle");
  return {};
}

Result<Volume::Status> Volume::status() const {
  const std::shared_lock lock{lock_};
  Status status{record_.size, record_.mapped, record_.changed, record_.created};
  if (!staged_) return status;
  struct stat st {};
  if (::fstat(staged_->fd(), &st) != 0) return fail_errno("volume " + name_);
  status.allocated += static_cast<std::uint64_t>(st.st_blocks) * 512;
  status.changed =
      std::max(status.changed, Timespec{st.st_mtim.tv_sec, static_cast<std::uint32_t>(st.st_mtim.tv_nsec)});
  return status;
}

Result<PlaceRun> Volume::run_at(std::uint64_t offset) const {
  if (!staged_) return PlaceRun{record_.size, false};
  return fs::run_at(staged_->fd(), offset, record_.size);
}

Result<void> Volume::read_mapped(std::uint64_t offset, MutableByteSpan out) const {
  while (!out.empty()) {
    const std::uint64_t block = offset / kVolumeBlock, inside = offset % kVolumeBlock;
    const MutableByteSpan part = out.first(std::min<std::size_t>(out.size(), kVolumeBlock - inside));
    const auto extent = map_.find(block);
    if (!extent) return fail(extent.error(), "volume " + name_);
    std::size_t filled = 0;
    if (inside < extent->length) {
      const std::size_t wanted = std::min<std::size_t>(part.size(), extent->length - inside);
      const auto read = parts_.tier.read({extent->id, extent->length}, inside, part.first(wanted));
      if (!read) return fail(read.error(), "volume " + name_);
      if (*read != wanted) return fail(Errc::corrupt, "volume " + name_ + ": a block is shorter than its extent says");
      filled = wanted;
    }
    std::memset(part.data() + filled, 0, part.size() - filled);
    out = out.subspan(part.size());
    offset += part.size();
  }
  return {};
}

Result<void> Volume::read_all(std::uint64_t offset, MutableByteSpan out) const {
  if (!staged_) return read_mapped(offset, out);
  auto read = read_over(staged_->fd(), offset, out,
                        [this](std::uint64_t at, MutableByteSpan part) { return read_mapped(at, part); });
  return read ? read : fail(read.error(), "volume " + name_);
}

Result<std::size_t> Volume::read(std::uint64_t offset, MutableByteSpan out) const {
  const std::shared_lock lock{lock_};
  if (auto ok = usable(); !ok) return fail(ok.error());
  if (offset >= record_.size) return std::size_t{0};
  out = out.first(std::min<std::uint64_t>(out.size(), record_.size - offset));
  if (auto read = read_all(offset, out); !read) return fail(read.error());
  return out.size();
}

Result<void> Volume::make_staged() {
  if (staged_) return {};
  auto file = parts_.staging.create();
  if (!file) return fail(file.error(), "volume " + name_);
  const auto exact = has_hole_map((*file)->fd());
  if (!exact || !*exact) {
    if (auto removed = parts_.staging.remove((*file)->id()); !removed) return removed;
    return fail(exact ? no_hole_map() : exact.error());
  }
  mark_holes_exact(**file);
  // First: a record that names it must never outlive it.
  if (auto durable = parts_.staging.make_durable((*file)->id()); !durable) return durable;
  VolumeRecord next = record_;
  next.staged = (*file)->id();
  cas::Database::Batch batch;
  batch.put(kVolumeFamily, name_, encode_volume(next));
  if (auto written = parts_.database.write(std::move(batch), cas::Database::Sync::yes); !written) return written;
  record_ = std::move(next);
  staged_ = std::move(*file);
  return {};
}

void Volume::touch(std::uint64_t offset, std::uint64_t end) {
  if (!watching_ || offset >= end) return;
  for (std::uint64_t block = offset / kVolumeBlock; block <= (end - 1) / kVolumeBlock; ++block) touched_.insert(block);
}

Result<std::size_t> Volume::put(std::uint64_t offset, ByteSpan data) {
  if (data.empty()) return std::size_t{0};
  if (auto made = make_staged(); !made) return fail(made.error());
  const std::uint64_t end = offset + data.size();
  touch(place_begin(offset), place_end(end));
  // Behind the volume's end there are zeros.
  const auto whole = whole_places(offset, data, UINT64_MAX, [this](std::uint64_t at, MutableByteSpan part) {
    return read_all(at, part.first(std::min<std::uint64_t>(part.size(), record_.size - at)));
  });
  if (!whole) return fail(whole.error());
  const auto [first, bytes] = std::pair{whole->offset, whole->bytes};
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        ::pwrite(staged_->fd(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(first + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int failure = n < 0 ? errno : EIO;
      // The rest of that place would read as zeros, and the file cannot tell.
      if (done % kPlace != 0) broken_ = true;
      const std::uint64_t reached = first + done;
      if (!broken_ && reached > offset) return static_cast<std::size_t>(std::min(reached, end) - offset);
      return fail_errno("writing volume " + name_, failure);
    }
    done += static_cast<std::size_t>(n);
  }
  return data.size();
}

Result<std::size_t> Volume::write(std::uint64_t offset, ByteSpan data) {
  const std::unique_lock lock{lock_};
  if (auto ok = usable(); !ok) return fail(ok.error());
  if (data.empty()) return std::size_t{0};
  if (offset >= record_.size) return fail(Error{Errc::out_of_space, "volume " + name_ + " ends before", ENOSPC});
  return put(offset, data.first(std::min<std::uint64_t>(data.size(), record_.size - offset)));
}

Result<void> Volume::put_zeros(std::uint64_t offset, std::uint64_t end) {
  static const std::vector<std::byte> zeros(kZeros);
  while (offset < end) {
    const auto written = put(offset, ByteSpan{zeros}.first(std::min<std::uint64_t>(zeros.size(), end - offset)));
    if (!written) return fail(written.error());
    if (*written == 0) return fail(Errc::io, "writing volume " + name_);
    offset += *written;
  }
  return {};
}

Result<void> Volume::punch(std::uint64_t offset, std::uint64_t end) {
  if (!staged_ || offset >= end) return {};
  if (::fallocate(staged_->fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(end - offset)) != 0)
    return fail_errno("freeing a part of volume " + name_);
  return {};
}

Result<void> Volume::commit(const BlockMap::Blocks& extents) {
  cas::Database::Batch batch;
  VolumeRecord next = record_;
  next.changed = now();
  for (const auto& [block, extent] : extents) {
    const auto before = map_.find(block);
    if (!before) return fail(before.error(), "volume " + name_);
    next.mapped += bytes_of(extent, next.size, block);
    next.mapped -= bytes_of(*before, next.size, block);
    map_.put(batch, block, extent);
  }
  batch.put(kVolumeFamily, name_, encode_volume(next));
  if (auto written = parts_.database.write(std::move(batch), cas::Database::Sync::yes); !written) return written;
  record_ = std::move(next);
  return {};
}

// Whole blocks [first, last): the map learns of the zeros before the staged bytes over them go.
Result<void> Volume::zero_blocks(std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t from = first; from < last; from += kWindow) {
    auto blocks = map_.list(from, std::min(last, from + kWindow));
    if (!blocks) return fail(blocks.error(), "volume " + name_);
    for (auto& [block, extent] : *blocks) extent = {};
    if (blocks->empty()) continue;
    if (auto written = commit(*blocks); !written) return written;
  }
  return punch(first * kVolumeBlock, last * kVolumeBlock);
}

// Whole places inside one block: where the map has nothing they may simply go, else zeros must hide what it has.
Result<void> Volume::zero_places(std::uint64_t offset, std::uint64_t end) {
  if (offset >= end) return {};
  const auto extent = map_.find(offset / kVolumeBlock);
  if (!extent) return fail(extent.error(), "volume " + name_);
  return extent->is_zeros() ? punch(offset, end) : put_zeros(offset, std::min(end, record_.size));
}

Result<void> Volume::zero(std::uint64_t offset, std::uint64_t length) {
  const std::unique_lock lock{lock_};
  if (auto ok = usable(); !ok) return ok;
  if (offset >= record_.size || length == 0) return {};
  const std::uint64_t end = length > record_.size - offset ? record_.size : offset + length;
  touch(offset, end);
  // What reaches to the volume's end takes the last place and block as a whole.
  const std::uint64_t whole_end = end == record_.size ? block_end(end) : end;
  const std::uint64_t first_place = place_end(offset), last_place = place_begin(whole_end);
  if (first_place >= last_place) return put_zeros(offset, end);
  if (auto head = put_zeros(offset, std::min(first_place, end)); !head) return head;
  if (whole_end != last_place) {
    if (auto tail = put_zeros(last_place, end); !tail) return tail;
  }
  const std::uint64_t first = block_end(first_place), last = block_begin(last_place);
  if (first > last) return zero_places(first_place, last_place);  // all in one block
  if (auto head = zero_places(first_place, first); !head) return head;
  if (auto tail = zero_places(last, last_place); !tail) return tail;
  return zero_blocks(first / kVolumeBlock, last / kVolumeBlock);
}

// The nearest of what the staged file and what the map know.
Result<std::uint64_t> Volume::seek(std::uint64_t offset, bool data) const {
  for (std::uint64_t at = offset; at < record_.size;) {
    const auto run = run_at(at);
    if (!run) return fail(run.error());
    if (run->there) {
      if (data) return at;
      at = run->end;
      continue;
    }
    std::uint64_t step = kFirstStep;
    for (std::uint64_t block = at / kVolumeBlock; at < run->end; step = std::min(4 * step, kWindow)) {
      const std::uint64_t window = std::min(block + step, (run->end + kVolumeBlock - 1) / kVolumeBlock);
      const auto blocks = map_.list(block, window);
      if (!blocks) return fail(blocks.error(), "volume " + name_);
      for (const auto& [mapped, extent] : *blocks) {
        if (!data && mapped != block) return at;
        if (data) return std::max(at, mapped * kVolumeBlock);
        at = std::min((++block) * kVolumeBlock, run->end);
      }
      if (!data && block < window) return at;
      block = window;
      at = std::min(window * kVolumeBlock, run->end);
    }
  }
  return record_.size;
}

Result<std::uint64_t> Volume::next_data(std::uint64_t offset) const {
  const std::shared_lock lock{lock_};
  const auto found = seek(offset, true);
  return found ? Result<std::uint64_t>{std::min(*found, record_.size)} : found;
}

Result<std::uint64_t> Volume::next_hole(std::uint64_t offset) const {
  const std::shared_lock lock{lock_};
  return seek(offset, false);
}

// What the database knows of a volume was synced when it was written. A sync of the log would cover everybody's
// records, and with them the files of all clones.
Result<void> Volume::sync() {
  for (;;) {
    std::shared_ptr<Staging::File> staged;
    {
      const std::shared_lock lock{lock_};
      if (auto ok = usable(); !ok) return ok;
      staged = staged_;
    }
    if (!staged) return {};
    auto durable = parts_.staging.make_durable(staged->id());
    if (durable) return {};
    const std::shared_lock lock{lock_};
    if (staged_ == staged) return durable;  // else all of the volume was replaced meanwhile, and the file went
  }
}

Result<void> Volume::grow(std::uint64_t size) {
  const std::unique_lock lock{lock_};
  if (size < record_.size)
    return fail(Errc::invalid_argument, "volume " + name_ + " has " + std::to_string(record_.size) +
                                            " bytes: it can only grow, since what is cut off would be lost");
  if (size > kMaxVolumeSize) return fail(Errc::invalid_argument, "a volume has at most 256 TiB");
  // The last block becomes as long as its new place: an extent that is too short for it must not outlive this.
  const std::uint64_t last = block_begin(record_.size - 1);
  touch(last, record_.size);
  const auto extent = map_.find(last / kVolumeBlock);
  if (!extent) return fail(extent.error(), "volume " + name_);
  if (!extent->is_zeros() && record_.size - last < kVolumeBlock) {
    std::vector<std::byte> bytes(record_.size - last);
    if (auto read = read_all(last, bytes); !read) return read;
    const auto written = put(last, bytes);
    if (!written) return fail(written.error());
    if (*written != bytes.size()) return fail(Errc::out_of_space, "writing volume " + name_);
    if (auto durable = parts_.staging.make_durable(staged_->id()); !durable) return durable;
  }
  VolumeRecord next = record_;
  next.mapped += bytes_of(*extent, size, last / kVolumeBlock) - bytes_of(*extent, next.size, last / kVolumeBlock);
  next.size = size;
  next.changed = now();
  cas::Database::Batch batch;
  batch.put(kVolumeFamily, name_, encode_volume(next));
  if (auto written = parts_.database.write(std::move(batch), cas::Database::Sync::yes); !written) return written;
  record_ = std::move(next);
  return {};
}

}  // namespace stellarium::fs
