#include "fs/fuse/handle_table.h"

#include "base/log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <string>

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint64_t kMagic = 0x31304c4254455453;  // "STETBL01" in little-endian bytes
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderSize = 4096;
constexpr std::size_t kRecordSize = 64;
constexpr std::uint32_t kFirstSlots = 64;  // a page: there may be thousands of guests, each with a few open files
constexpr std::uint32_t kGrowSlots = 1024;
constexpr std::uint32_t kMaxSlots = 1u << 20;
constexpr std::size_t kReserved = kHeaderSize + std::size_t{kMaxSlots} * kRecordSize;  // of address space, not memory
constexpr std::uint64_t kNegotiated = 1ull << 63;  // in Header::features, once INIT was answered

enum class State : std::uint8_t { free = 0, pending = 1, open = 2, backing = 3, mapping = 4 };

// The first word of a record: the state in the low byte, the generation in the high half.
constexpr std::uint64_t word_of(State state, std::uint32_t generation) {
  return static_cast<std::uint64_t>(state) | std::uint64_t{generation} << 32;
}
constexpr State state_of(std::uint64_t word) {
  return static_cast<State>(word & 0xff);
}
constexpr std::uint32_t generation_of(std::uint64_t word) {
  return static_cast<std::uint32_t>(word >> 32);
}

// The `number` of a backing id that stands for a staged file; no content is so long.
constexpr std::uint64_t kStaged = ~std::uint64_t{0};

constexpr FileHandle handle_of(std::uint32_t slot, std::uint32_t generation) {
  return std::uint64_t{generation} << 32 | (std::uint64_t{slot} + 1);
}

constexpr std::size_t file_size(std::uint32_t slots) {
  return kHeaderSize + std::size_t{slots} * kRecordSize;
}

std::array<std::byte, 9> subject_of(const HandleTable::Handle& handle) {
  std::array<std::byte, 9> bytes{};
  store_le(bytes.data(), handle.node.value());
  bytes[8] = static_cast<std::byte>(handle.mode);
  return bytes;
}

}  // namespace

struct HandleTable::Header {
  std::uint64_t magic;
  std::uint32_t version, reserved;
  std::uint64_t mount;  // 0 until the first server opens the table
  std::atomic<std::uint64_t> features;
  std::atomic<std::uint32_t> highest_backing_id;
};

struct HandleTable::Record {
  std::atomic<std::uint64_t> word;
  std::uint32_t checksum, backing_id;
  std::uint64_t mount;
  std::uint64_t number;   // handles: the request; backing ids: the content's size, kStaged; mappings: the place
  std::byte subject[32];  // handles: node 8, mode 1; backing ids: the content's id; a staged file's number 8;
                          // mappings: length 8

  std::uint32_t sum() const {
    std::uint64_t hash = 0xcbf29ce484222325;
    const auto mix = [&hash](std::uint64_t value) {
      hash = (hash ^ value) * 0x9e3779b97f4a7c15;
      hash ^= hash >> 29;
    };
    mix(backing_id);
    mix(mount);
    mix(number);
    for (std::size_t at = 0; at < sizeof subject; at += 8) mix(load_le<std::uint64_t>(subject + at));
    return static_cast<std::uint32_t>(hash >> 32);
  }
  Handle handle() const {
    return Handle{.unique = number,
                  .node = NodeId{load_le<std::uint64_t>(subject)},
                  .mode = static_cast<OpenMode>(subject[8]),
                  .backing_id = backing_id};
  }
};

Result<UniqueFd> HandleTable::make() {
  static_assert(sizeof(Record) == kRecordSize && sizeof(Header) <= kHeaderSize);
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
  UniqueFd fd{::memfd_create("stellarium-handles", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!fd) return fail_errno("making a handle table");
  if (::fallocate(fd.get(), 0, 0, static_cast<off_t>(file_size(kFirstSlots))) != 0) {
    return fail_errno("reserving a handle table");
  }
  // Nobody who holds a duplicate can make our mapping fault.
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) return fail_errno("sealing a handle table");
  std::array<std::byte, 12> head{};
  store_le(head.data(), kMagic);
  store_le(head.data() + 8, kVersion);
  if (::pwrite(fd.get(), head.data(), head.size(), 0) != static_cast<ssize_t>(head.size())) {
    return fail_errno("writing a handle table's header");
  }
  return fd;
}

Result<HandleTable> HandleTable::open(UniqueFd fd, std::uint64_t mount) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail_errno("fstat of a handle table");
  const auto size = static_cast<std::size_t>(status.st_size);
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || size < file_size(kFirstSlots) || size > kReserved) {
    return fail(Errc::corrupt, "the descriptor given as a handle table is none");
  }
  void* base = ::mmap(nullptr, kReserved, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (base == MAP_FAILED) return fail_errno("mapping a handle table");
  HandleTable table{std::move(fd), static_cast<std::byte*>(base), mount};
  Header& header = table.header();
  if (header.magic != kMagic) return fail(Errc::corrupt, "the descriptor given as a handle table is none");
  if (header.version != kVersion) {
    return fail(Errc::version, "handle table of version " + std::to_string(header.version) +
                                   ", this server knows version " + std::to_string(kVersion));
  }
  if (header.mount != 0 && header.mount != mount) {
    return fail(Errc::corrupt,
                "handle table belongs to mount " + std::to_string(header.mount) + ", not to " + std::to_string(mount));
  }
  header.mount = mount;
  table.capacity_ = static_cast<std::uint32_t>((size - kHeaderSize) / kRecordSize);
  table.load();
  return table;
}

Result<std::uint64_t> HandleTable::mount_of(int fd) {
  static_assert(offsetof(Header, mount) == 16);
  std::array<std::byte, 24> head{};
  if (::pread(fd, head.data(), head.size(), 0) != static_cast<ssize_t>(head.size()) ||
      load_le<std::uint64_t>(head.data()) != kMagic)
    return fail(Errc::corrupt, "the descriptor given as a handle table is none");
  return load_le<std::uint64_t>(head.data() + 16);
}

HandleTable::HandleTable(HandleTable&& other) noexcept
    : fd_{std::move(other.fd_)},
      base_{std::exchange(other.base_, nullptr)},
      mount_{other.mount_},
      capacity_{other.capacity_},
      free_{std::move(other.free_)},
      inherited_{std::move(other.inherited_)},
      handle_count_{other.handle_count_} {}

HandleTable::~HandleTable() {
  if (base_ != nullptr) ::munmap(base_, kReserved);
}

HandleTable::Header& HandleTable::header() const {
  return *std::launder(reinterpret_cast<Header*>(base_));
}
HandleTable::Record& HandleTable::record(std::uint32_t slot) const {
  return *std::launder(reinterpret_cast<Record*>(base_ + file_size(slot)));
}

bool HandleTable::intact(const Record& record) const {
  return record.mount == mount_ && record.checksum == record.sum();
}

void HandleTable::load() {
  free_.clear();
  inherited_.clear();
  handle_count_ = 0;
  for (std::uint32_t slot = capacity_; slot-- > 0;) {
    Record& entry = record(slot);
    const std::uint64_t word = entry.word.load(std::memory_order_acquire);
    if (state_of(word) != State::free && !intact(entry)) {
      log::error("mount {}: record {} of the handle table is damaged and dropped", mount_, slot);
      entry.word.store(word_of(State::free, generation_of(word) + 1), std::memory_order_release);
    }
    switch (state_of(entry.word.load(std::memory_order_relaxed))) {
      case State::free:
        free_.push_back(slot);
        break;
      case State::pending:
        inherited_.emplace(entry.number, slot);
        ++handle_count_;
        break;
      case State::open:
        ++handle_count_;
        break;
      case State::backing:
      case State::mapping:
        break;
    }
  }
}

Result<void> HandleTable::reserve(std::uint32_t slots) {
  if (slots > kMaxSlots) return fail(Errc::out_of_space, "mount has " + std::to_string(handle_count_) + " open files");
  // Reserved, not only made longer: a page that cannot be had must be an error here and not a SIGBUS later.
  if (::fallocate(fd_.get(), 0, 0, static_cast<off_t>(file_size(slots))) != 0)
    return fail_errno("growing a handle table");
  for (std::uint32_t slot = slots; slot-- > capacity_;) free_.push_back(slot);
  capacity_ = slots;
  return {};
}

Result<std::uint32_t> HandleTable::take_slot() {
  if (free_.empty()) {
    const Result<void> grown = reserve(capacity_ + kGrowSlots);
    if (!grown) return fail(grown.error());
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  return slot;
}

void HandleTable::write(std::uint32_t slot, std::uint32_t backing_id, std::uint64_t number, ByteSpan subject) {
  Record& entry = record(slot);
  entry.backing_id = backing_id;
  entry.mount = mount_;
  entry.number = number;
  std::memset(entry.subject, 0, sizeof entry.subject);
  std::memcpy(entry.subject, subject.data(), subject.size());
  entry.checksum = entry.sum();
}

std::optional<std::uint64_t> HandleTable::features() const {
  const std::uint64_t value = header().features.load(std::memory_order_acquire);
  if ((value & kNegotiated) == 0) return std::nullopt;
  return value & ~kNegotiated;
}

void HandleTable::set_features(std::uint64_t features) {
  header().features.store(features | kNegotiated, std::memory_order_release);
}

Result<HandleTable::Begun> HandleTable::begin(const Handle& handle) {
  if (const auto earlier = find_request(handle.unique)) return *earlier;
  const Result<std::uint32_t> slot = take_slot();
  if (!slot) return fail(slot.error());
  write(*slot, handle.backing_id, handle.unique, subject_of(handle));
  Record& entry = record(*slot);
  const std::uint32_t generation = generation_of(entry.word.load(std::memory_order_relaxed));
  entry.word.store(word_of(State::pending, generation), std::memory_order_release);
  ++handle_count_;
  return Begun{handle_of(*slot, generation), handle, false};
}

std::optional<HandleTable::Begun> HandleTable::find_request(std::uint64_t unique) const {
  const auto found = inherited_.find(unique);
  if (found == inherited_.end()) return std::nullopt;
  const Record& entry = record(found->second);
  return Begun{handle_of(found->second, generation_of(entry.word.load(std::memory_order_relaxed))), entry.handle(),
               true};
}

void HandleTable::confirm(FileHandle handle) {
  Record& entry = record(static_cast<std::uint32_t>(handle) - 1);
  std::uint64_t expected = word_of(State::pending, generation_of(handle));
  // The RELEASE may already have been here: the kernel may send it as soon as the answer is written.
  entry.word.compare_exchange_strong(expected, word_of(State::open, generation_of(handle)), std::memory_order_acq_rel);
}

std::optional<HandleTable::Handle> HandleTable::end(FileHandle handle, NodeId node) {
  const auto slot = static_cast<std::uint32_t>(handle) - 1;
  if (slot >= capacity_) return std::nullopt;
  Record& entry = record(slot);
  const std::uint64_t word = entry.word.load(std::memory_order_acquire);
  const bool is_open = state_of(word) == State::pending || state_of(word) == State::open;
  if (!is_open || generation_of(word) != generation_of(handle)) return std::nullopt;
  const Handle ended = entry.handle();
  if (ended.node != node) return std::nullopt;
  entry.word.store(word_of(State::free, generation_of(word) + 1), std::memory_order_release);
  inherited_.erase(ended.unique);
  free_.push_back(slot);
  --handle_count_;
  return ended;
}

Result<std::uint32_t> HandleTable::add_backing(const Backing& backing) {
  const Result<std::uint32_t> slot = take_slot();
  if (!slot) return slot;
  if (backing.file.staged != 0) {
    std::array<std::byte, sizeof(StagedId)> number;
    store_le(number.data(), backing.file.staged);
    write(*slot, backing.id, kStaged, number);
  } else {
    write(*slot, backing.id, backing.file.content.size, backing.file.content.id.span());
  }
  Record& entry = record(*slot);
  entry.word.store(word_of(State::backing, generation_of(entry.word.load(std::memory_order_relaxed))),
                   std::memory_order_release);
  if (backing.id > highest_backing_id()) header().highest_backing_id.store(backing.id, std::memory_order_release);
  return slot;
}

Result<std::uint32_t> HandleTable::add_mapping(const Mapping& mapping) {
  const Result<std::uint32_t> slot = take_slot();
  if (!slot) return slot;
  std::array<std::byte, sizeof mapping.length> length{};
  store_le(length.data(), mapping.length);
  write(*slot, 0, mapping.place, length);
  Record& entry = record(*slot);
  entry.word.store(word_of(State::mapping, generation_of(entry.word.load(std::memory_order_relaxed))),
                   std::memory_order_release);
  return slot;
}

std::vector<std::pair<std::uint32_t, HandleTable::Mapping>> HandleTable::mappings() const {
  std::vector<std::pair<std::uint32_t, Mapping>> found;
  for (std::uint32_t slot = 0; slot < capacity_; ++slot) {
    const Record& entry = record(slot);
    if (state_of(entry.word.load(std::memory_order_acquire)) == State::mapping)
      found.emplace_back(slot, Mapping{entry.number, load_le<std::uint64_t>(entry.subject)});
  }
  return found;
}

void HandleTable::free_slot(std::uint32_t slot) {
  Record& entry = record(slot);
  const std::uint64_t word = entry.word.load(std::memory_order_relaxed);
  entry.word.store(word_of(State::free, generation_of(word) + 1), std::memory_order_release);
  free_.push_back(slot);
}

std::uint32_t HandleTable::highest_backing_id() const {
  return header().highest_backing_id.load(std::memory_order_acquire);
}

std::vector<HandleTable::Handle> HandleTable::handles() const {
  std::vector<Handle> found;
  for (std::uint32_t slot = 0; slot < capacity_; ++slot) {
    const Record& entry = record(slot);
    const State state = state_of(entry.word.load(std::memory_order_acquire));
    if (state == State::pending || state == State::open) found.push_back(entry.handle());
  }
  return found;
}

std::vector<std::pair<std::uint32_t, HandleTable::Backing>> HandleTable::backings() const {
  std::vector<std::pair<std::uint32_t, Backing>> found;
  for (std::uint32_t slot = 0; slot < capacity_; ++slot) {
    const Record& entry = record(slot);
    if (state_of(entry.word.load(std::memory_order_acquire)) != State::backing) continue;
    Backing backing{.file = {}, .id = entry.backing_id};
    if (entry.number == kStaged) {
      backing.file.staged = load_le<StagedId>(entry.subject);
    } else {
      backing.file.content.size = entry.number;
      std::memcpy(backing.file.content.id.bytes.data(), entry.subject, sizeof entry.subject);
    }
    found.emplace_back(slot, backing);
  }
  return found;
}

void HandleTable::clear() {
  for (std::uint32_t slot = 0; slot < capacity_; ++slot) {
    Record& entry = record(slot);
    const std::uint64_t word = entry.word.load(std::memory_order_relaxed);
    if (state_of(word) != State::free) {
      entry.word.store(word_of(State::free, generation_of(word) + 1), std::memory_order_release);
    }
  }
  header().features.store(0, std::memory_order_release);
  header().highest_backing_id.store(0, std::memory_order_release);
  load();
}

}  // namespace stellarium::fs::fuse
