#include "tier/hot_store.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/log.h"
#include "tier/verity.h"

namespace stellarium::tier {
namespace {

constexpr std::uint64_t kBlock = 4096;
constexpr std::size_t kKeptOpen = 64;
constexpr unsigned kMaxBusyVictims = 64;  // in a row, before a reservation gives up

class OpenHotFile final : public HotFile {
 public:
  OpenHotFile(const ContentRef& content, UniqueFd fd) : content_{content}, fd_{std::move(fd)} {}
  const ContentRef& content() const override { return content_; }
  int fd() const override { return fd_.get(); }

 private:
  ContentRef content_;
  UniqueFd fd_;
};

// Whether anybody else has the file open or mapped: a write lease is granted only if not (fcntl(2)). File systems
// without leases cannot tell; there only our own counts decide.
bool used_by_others(int fd) {
  // The signal that a broken lease would send is by default deadly; SIGURG is by default nothing.
  ::fcntl(fd, F_SETSIG, SIGURG);
  if (::fcntl(fd, F_SETLEASE, F_WRLCK) != 0) return errno == EAGAIN;
  ::fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}

}  // namespace

Result<std::unique_ptr<HotStore>> HotStore::open(Io& io, const std::filesystem::path& path, std::uint64_t budget,
                                                 bool private_mount) {
  Result<HotFolder> folder = HotFolder::open(io, path, private_mount);
  if (!folder) return fail(folder.error());
  Result<PinList> pins = PinList::load(*folder);
  if (!pins) return fail(pins.error());
  const Result<std::vector<HotFolder::Listed>> listed = folder->list();
  if (!listed) return fail(listed.error());
  const bool synced = folder->was_synced();
  std::unique_ptr<HotStore> store{new HotStore{std::move(*folder), std::move(*pins), budget}};
  const MutexLock lock{store->mutex_};
  for (const auto& file : *listed) store->enter(file, store->pins_.contains(file.id), synced);
  return store;
}

HotStore::HotStore(HotFolder folder, PinList pins, std::uint64_t budget)
    : folder_{std::move(folder)},
      pins_{std::move(pins)},
      order_{budget},
      budget_{budget},
      verity_{has_verity(folder_.descriptor())} {}

HotStore::~HotStore() {
  std::vector<cas::ContentId> unsynced;
  {
    const MutexLock lock{mutex_};
    for (const auto& [id, record] : records_) {
      if (record.verified && !record.synced) unsynced.push_back(id);
    }
  }
  if (auto marked = folder_.mark_synced(unsynced); !marked) {
    log::warn("hot files are hashed again after the next reboot: {}", to_string(marked.error()));
  }
}

void HotStore::enter(const HotFolder::Listed& file, bool pinned, bool synced) {
  Record record{file.size, file.allocated, nullptr, {}, file.verified, pinned, synced};
  if (!pinned) order_.insert(record.node = std::make_shared<Order::Node>(file.id, Nothing{}, file.allocated));
  const auto [at, fresh] = records_.emplace(file.id, record);
  if (!fresh) {  // both verified and not: the verified one, listed later, is the one to use
    erase(at);
    records_.emplace(file.id, std::move(record));
  }
  bytes_ += file.allocated;
}

void HotStore::erase(Records::iterator record) {
  bytes_ -= record->second.allocated;
  if (record->second.node) order_.erase(record->second.node);
  std::erase_if(kept_open_, [&](const HotFilePtr& file) { return file->content().id == record->first; });
  records_.erase(record);
}

HotFilePtr HotStore::adopt_open(const ContentRef& content, UniqueFd fd) {
  const auto found = records_.find(content.id);
  if (found == records_.end() || !found->second.verified) return nullptr;  // evicted while it was being opened
  if (HotFilePtr file = found->second.open.lock()) return file;
  HotFilePtr file = std::make_shared<OpenHotFile>(content, std::move(fd));
  found->second.open = file;
  return file;
}

HotFilePtr HotStore::find(const ContentRef& content) {
  {
    const MutexLock lock{mutex_};
    const auto found = records_.find(content.id);
    if (found == records_.end() || !found->second.verified || found->second.size != content.size) return nullptr;
    if (found->second.node) found->second.node->touch();
    hits_.fetch_add(1, std::memory_order_relaxed);
    if (HotFilePtr file = found->second.open.lock()) return file;
  }
  Result<UniqueFd> fd = folder_.open_file(content.id, true);
  if (!fd) return nullptr;  // evicted a moment ago, or somebody removed it from the folder; a fill replaces its record
  const MutexLock lock{mutex_};
  return adopt_open(content, std::move(*fd));
}

std::optional<std::size_t> HotStore::read(const ContentRef& content, std::uint64_t offset, MutableByteSpan out) {
  if (offset < content.size)
    out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), content.size - offset)));
  if (offset >= content.size) out = {};
  if (!read_all(content, offset, {&out, 1})) return std::nullopt;
  return out.size();
}

bool HotStore::read_all(const ContentRef& content, std::uint64_t offset, MutableByteParts out) {
  const HotFilePtr file = find(content);
  if (!file) return false;
  {
    const MutexLock lock{mutex_};
    keep_open(file);
  }
  const auto read = read_parts(file->fd(), out, offset);
  if (read && *read == size_of(out)) return true;
  // A guest may have taken the memory away: that is not the file's fault.
  std::byte probe;
  if (::pread(file->fd(), &probe, 1, static_cast<off_t>(offset + read.value_or(0))) == 1) return false;
  // The disk cannot deliver it, or it is shorter than when it was checked.
  log::error("hot file {}: cannot be read at {}, dropped", content.id.hex(), offset);
  drop(content.id);
  return false;
}

void HotStore::keep_open(const HotFilePtr& file) {
  if (std::ranges::find(kept_open_, file) != kept_open_.end() || !records_.contains(file->content().id)) return;
  kept_open_.push_back(file);
  if (kept_open_.size() > kKeptOpen) kept_open_.pop_front();
}

Result<std::unique_ptr<HotStore::NewFile>> HotStore::create(const ContentRef& content, std::uint64_t data_bytes) {
  // Whole blocks. What stat(2) says of a file whose blocks are being allocated right now can be twice as much.
  data_bytes = (data_bytes + kBlock - 1) / kBlock * kBlock;
  if (auto reserved = reserve(data_bytes); !reserved) return fail(reserved.error());
  auto file = std::make_unique<NewFile>(*this, content, data_bytes);
  Result<UniqueFd> fd = folder_.create();
  if (!fd) return fail(fd.error());
  file->fd_ = std::move(*fd);
  return file;
}

Result<HotFilePtr> HotStore::publish(NewFile& file) {
  const ContentRef& content = file.content_;
  if (auto published = folder_.publish(file.fd(), content.id); !published) return fail(published.error());
  Result<UniqueFd> fd = folder_.open_file(content.id, true);
  if (!fd) return fail(fd.error());
  const MutexLock lock{mutex_};
  if (const auto old = records_.find(content.id); old != records_.end()) erase(old);
  enter({content.id, content.size, file.reserved_, true}, pins_.contains(content.id), false);
  return adopt_open(content, std::move(*fd));
}

Result<void> HotStore::reserve(std::uint64_t bytes) {
  for (unsigned busy = 0;;) {
    Order::NodePtr victim;
    {
      const MutexLock lock{mutex_};
      if (bytes_ + reserved_ + bytes <= budget_) {
        reserved_ += bytes;
        return {};
      }
      if (bytes <= budget_ && busy < kMaxBusyVictims) victim = order_.evict_one();
    }
    if (!victim) {
      return fail(Errc::out_of_space, "a hot file of " + std::to_string(bytes) +
                                          " bytes does not fit into the budget of " + std::to_string(budget_) +
                                          " bytes beside the files in use");
    }
    if (evict_unused(victim->key) != 0) {
      busy = 0;
      continue;
    }
    ++busy;
    const MutexLock lock{mutex_};
    const auto record = records_.find(victim->key);
    if (record != records_.end() && record->second.node == victim) order_.give_back(victim);
  }
}

void HotStore::unreserve(std::uint64_t bytes) {
  const MutexLock lock{mutex_};
  reserved_ -= bytes;
}

void HotStore::make_room(std::uint64_t bytes) {
  std::uint64_t freed = 0;
  for (unsigned busy = 0; freed < bytes && busy < kMaxBusyVictims;) {
    Order::NodePtr victim;
    {
      const MutexLock lock{mutex_};
      victim = order_.evict_one();
    }
    if (!victim) return;
    const std::uint64_t got = evict_unused(victim->key);
    freed += got;
    if (got != 0) continue;
    ++busy;
    const MutexLock lock{mutex_};
    const auto record = records_.find(victim->key);
    if (record != records_.end() && record->second.node == victim) order_.give_back(victim);
  }
}

std::uint64_t HotStore::evict_unused(const cas::ContentId& id) {
  if (!release(id)) return 0;
  UniqueFd probe;  // closed after the lock is given up: the last close is what frees the blocks, and that takes time
  const MutexLock lock{mutex_};
  const auto record = records_.find(id);
  if (record == records_.end() || record->second.pinned) return 0;
  std::erase_if(kept_open_, [&](const HotFilePtr& file) { return file->content().id == id; });
  if (!record->second.open.expired()) return 0;
  const bool verified = record->second.verified;
  Result<UniqueFd> fd = folder_.open_file(id, verified);
  if (fd) {
    probe = std::move(*fd);
    if (used_by_others(probe.get())) return 0;
  }
  if (auto removed = folder_.remove(id, verified); !removed && removed.error().code != Errc::not_found) return 0;
  const std::uint64_t freed = std::max<std::uint64_t>(record->second.allocated, 1);
  erase(record);
  evictions_.fetch_add(1, std::memory_order_relaxed);
  return freed;
}

std::uint64_t HotStore::evict(const std::optional<cas::ContentId>& content) {
  if (content) return evict_unused(*content);
  std::uint64_t freed = 0;
  for (const ContentRef& file : all()) freed += evict_unused(file.id);
  return freed;
}

UniqueFd HotStore::open_unverified(const ContentRef& content) {
  {
    const MutexLock lock{mutex_};
    const auto found = records_.find(content.id);
    if (found == records_.end() || found->second.verified) return {};
  }
  Result<UniqueFd> fd = folder_.open_file(content.id, false);
  return fd ? std::move(*fd) : UniqueFd{};
}

Result<HotFilePtr> HotStore::accept(const ContentRef& content) {
  if (auto moved = folder_.mark_verified(content.id); !moved) return fail(moved.error());
  Result<UniqueFd> fd = folder_.open_file(content.id, true);
  if (!fd) return fail(fd.error());
  const MutexLock lock{mutex_};
  const auto record = records_.find(content.id);
  if (record == records_.end())
    return fail(Errc::busy, "hot file " + content.id.hex() + " was evicted while it was being checked");
  record->second.verified = record->second.synced = true;  // its bytes came from the disk
  return adopt_open(content, std::move(*fd));
}

void HotStore::protect(const HotFile& file) {
  if (!verity_) return;
  if (auto done = folder_.protect(file.content().id); !done) {
    log::warn("hot file {} is left to scrub: {}", file.content().id.hex(), to_string(done.error()));
  }
}

void HotStore::drop(const cas::ContentId& id) {
  const MutexLock lock{mutex_};
  const auto record = records_.find(id);
  if (record == records_.end()) return;
  // If it cannot be removed now, the next fill's publish() replaces it; only a restart in between would find it again.
  if (auto removed = folder_.remove(id, record->second.verified); !removed && removed.error().code != Errc::not_found) {
    log::error("hot file {} is wrong and cannot be removed: {}", id.hex(), to_string(removed.error()));
  }
  erase(record);
}

bool HotStore::release(const cas::ContentId& id) {
  Tier::ReleaseHook hook;
  {
    const MutexLock lock{hook_mutex_};
    hook = hook_;
  }
  return !hook || hook(id);
}

bool HotStore::has_room_to_spare() const {
  constexpr std::uint64_t kSpared = 8;  // of so many parts one must be free for everybody
  struct statvfs space {};
  return ::fstatvfs(folder_.descriptor(), &space) == 0 && space.f_bavail >= space.f_blocks / kSpared;
}

void HotStore::set_release_hook(Tier::ReleaseHook hook) {
  const MutexLock lock{hook_mutex_};
  hook_ = std::move(hook);
}

Result<void> HotStore::pin(const ContentRef& content) {
  const MutexLock lock{mutex_};
  if (auto added = pins_.add(folder_, content.id, content.size); !added) return added;
  const auto record = records_.find(content.id);
  if (record == records_.end() || record->second.pinned) return {};
  record->second.pinned = true;
  order_.erase(std::exchange(record->second.node, nullptr));
  return {};
}

void HotStore::unpin(const cas::ContentId& id) {
  const MutexLock lock{mutex_};
  if (!pins_.contains(id)) return;
  if (auto removed = pins_.remove(folder_, id); !removed)
    log::error("unpinning {}: {}", id.hex(), to_string(removed.error()));
  const auto record = records_.find(id);
  if (pins_.contains(id) || record == records_.end() || !record->second.pinned) return;
  record->second.pinned = false;
  order_.insert(record->second.node = std::make_shared<Order::Node>(id, Nothing{}, record->second.allocated));
}

std::vector<ContentRef> HotStore::pins() {
  const MutexLock lock{mutex_};
  std::vector<ContentRef> pins;
  for (const auto& [id, size] : pins_.all()) pins.push_back({id, size});
  return pins;
}

std::vector<ContentRef> HotStore::all() {
  const MutexLock lock{mutex_};
  std::vector<ContentRef> files;
  files.reserve(records_.size());
  for (const auto& [id, record] : records_) files.push_back({id, record.size});
  return files;
}

std::optional<HotStore::Inspected> HotStore::inspect(const cas::ContentId& id) {
  const MutexLock lock{mutex_};
  const auto record = records_.find(id);
  if (record == records_.end()) return std::nullopt;
  Result<UniqueFd> fd = folder_.open_file(id, record->second.verified);
  if (!fd) return std::nullopt;
  const bool in_use = !record->second.open.expired() || used_by_others(fd->get());
  return Inspected{std::move(*fd), in_use};
}

HotStore::Stats HotStore::stats() {
  const MutexLock lock{mutex_};
  Stats stats{records_.size(),
              bytes_,
              budget_,
              0,
              0,
              hits_.load(std::memory_order_relaxed),
              evictions_.load(std::memory_order_relaxed)};
  for (const auto& [id, size] : pins_.all()) {
    const auto record = records_.find(id);
    if (record == records_.end()) continue;
    ++stats.pinned_files;
    stats.pinned_bytes += record->second.allocated;
  }
  return stats;
}

}  // namespace stellarium::tier
