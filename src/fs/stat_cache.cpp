#include "fs/stat_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/io.h"

namespace stellarium::fs {
namespace {

constexpr std::string_view kCacheMagic{"STLRSTAT", 8};
constexpr std::uint32_t kCacheVersion = 2;
constexpr std::size_t kHeaderBytes = 12;
constexpr std::size_t kRecordBytes = 8 + 8 + 8 + 8 + 8 + 32 + 1 + 1;
constexpr std::size_t kSizeAt = 16, kUnusedAt = kRecordBytes - 1;
constexpr std::size_t kRecordsAtOnce = 3'500;  // about 256 KiB
constexpr std::uint64_t kMostBytes = kHeaderBytes + StatCache::kMaxEntries * kRecordBytes + cas::Hash::kSize;
constexpr std::uint8_t kElf = 1, kBare = 2;  // flags
constexpr std::uint8_t kMaxUnusedSaves = 8;
constexpr std::int64_t kRacyNanoseconds = 2'000'000'000;

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

StatCache::StatCache(std::filesystem::path file) : file_{std::move(file)} {
  if (load()) return;
  mapped_ = {};
  known_ = 0;
}

bool StatCache::load() {
  const Result<UniqueFd> fd = system_io().open(AT_FDCWD, file_, O_RDONLY, 0);
  if (!fd) return false;
  const auto status = system_io().status(fd->get());
  if (!status || !S_ISREG(status->st_mode)) return false;
  const auto size = static_cast<std::uint64_t>(status->st_size);
  if (size < kHeaderBytes + cas::Hash::kSize || size > kMostBytes) return false;
  const auto end = static_cast<std::size_t>(size) - cas::Hash::kSize;  // of the records
  if ((end - kHeaderBytes) % kRecordBytes != 0) return false;
  auto mapped = MappedFile::of(fd->get(), static_cast<std::size_t>(size));
  if (!mapped) return false;
  mapped_ = std::move(*mapped);

  ByteReader reader{mapped_.bytes()};
  if (reader.text(kCacheMagic.size()) != kCacheMagic || reader.le<std::uint32_t>() != kCacheVersion) return false;
  // The last 32 bytes are the BLAKE3 of the rest: a cache that was cut or damaged must not name wrong contents.
  if (cas::hash_of(mapped_.bytes().first(end)).text() != as_text(mapped_.bytes().subspan(end))) return false;
  known_ = (end - kHeaderBytes) / kRecordBytes;
  for (std::size_t index = 1; index < known_; ++index)
    if (key(index - 1) >= key(index)) return false;
  found_.resize(known_);
  corrected_.resize(known_);
  return true;
}

ByteSpan StatCache::record(std::size_t index) const {
  return mapped_.bytes().subspan(kHeaderBytes + index * kRecordBytes, kRecordBytes);
}

StatCache::Key StatCache::key(std::size_t index) const {
  const std::byte* const at = record(index).data();
  return {load_le<std::uint64_t>(at), load_le<std::uint64_t>(at + 8)};
}

StatCache::Entry StatCache::decode(ByteSpan record) {
  ByteReader reader{record};
  Entry entry{};
  entry.key.device = reader.le<std::uint64_t>();
  entry.key.inode = reader.le<std::uint64_t>();
  entry.size = reader.le<std::uint64_t>();
  entry.mtime_ns = static_cast<std::int64_t>(reader.le<std::uint64_t>());
  entry.ctime_ns = static_cast<std::int64_t>(reader.le<std::uint64_t>());
  entry.content.id = *cas::Hash::from_bytes(reader.take(cas::Hash::kSize));
  const auto flags = reader.le<std::uint8_t>();
  entry.content.elf = (flags & kElf) != 0;
  entry.content.bare = (flags & kBare) != 0;
  return entry;
}

std::optional<std::size_t> StatCache::look_up(const Key& wanted) const {
  std::size_t from = 0, to = known_;
  while (from < to) {
    const std::size_t middle = from + (to - from) / 2;
    if (key(middle) < wanted) {
      from = middle + 1;
    } else {
      to = middle;
    }
  }
  return from < known_ && key(from) == wanted ? std::optional{from} : std::nullopt;
}

std::optional<KnownContent> StatCache::find(const struct stat& status) {
  const auto index = look_up({status.st_dev, status.st_ino});
  if (!index || corrected_[*index]) return {};
  const Entry entry = decode(record(*index));
  if (entry.size != static_cast<std::uint64_t>(status.st_size) || entry.mtime_ns != nanoseconds(status.st_mtim) ||
      entry.ctime_ns != nanoseconds(status.st_ctim)) {
    return {};
  }
  found_[*index] = true;
  return entry.content;
}

void StatCache::remember(const struct stat& status, const KnownContent& content, const timespec& read_at) {
  const std::int64_t changed = std::max(nanoseconds(status.st_mtim), nanoseconds(status.st_ctim));
  if (nanoseconds(read_at) - changed < kRacyNanoseconds) return;
  const Key key{status.st_dev, status.st_ino};
  const auto index = look_up(key);
  if (index && !corrected_[*index]) {
    corrected_[*index] = true;
    ++corrections_;
  }
  if (size() >= kMaxEntries) return;
  added_.push_back({key, static_cast<std::uint64_t>(status.st_size), nanoseconds(status.st_mtim),
                    nanoseconds(status.st_ctim), content});
  changed_ = true;
}

std::size_t StatCache::size() const {
  return known_ - corrections_ + added_.size();
}

std::vector<std::uint64_t> StatCache::file_sizes(std::uint64_t smallest) const {
  std::vector<std::uint64_t> sizes;
  const auto take = [&](std::uint64_t size) {
    if (size >= smallest) sizes.push_back(size);
  };
  for (std::size_t index = 0; index < known_; ++index) take(load_le<std::uint64_t>(record(index).data() + kSizeAt));
  for (const Entry& entry : added_) take(entry.size);
  return sizes;
}

bool StatCache::stays(std::size_t index) const {
  return !corrected_[index] && (found_[index] || static_cast<std::uint8_t>(record(index)[kUnusedAt]) < kMaxUnusedSaves);
}

Result<void> StatCache::save() {
  if (!changed_) return {};
  std::ranges::sort(added_, {}, &Entry::key);
  // A tree that was sent twice in one run was remembered twice.
  const auto same_key = [](const Entry& a, const Entry& b) { return a.key == b.key; };
  added_.erase(std::unique(added_.begin(), added_.end(), same_key), added_.end());

  std::error_code ignored;  // open() reports what matters
  std::filesystem::create_directories(file_.parent_path(), ignored);
  const std::filesystem::path fresh = file_.string() + "." + std::to_string(::getpid());
  Result<UniqueFd> fd = system_io().open(AT_FDCWD, fresh, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!fd) return fail(fd.error(), "saving the stat cache");
  Result<void> written = write(fd->get());
  if (written) written = system_io().rename(AT_FDCWD, fresh, file_);
  if (!written) {
    std::filesystem::remove(fresh, ignored);
    return fail(written.error(), "saving the stat cache " + file_.string());
  }
  changed_ = false;
  return {};
}

Result<void> StatCache::write(int fd) const {
  cas::Hasher hasher;
  std::string bytes{kCacheMagic};
  bytes.reserve((kRecordsAtOnce + 1) * kRecordBytes);
  put_le(bytes, kCacheVersion);
  std::uint64_t at = 0;
  const auto flush = [&]() -> Result<void> {
    hasher.update(as_bytes(bytes));
    const auto written = system_io().write_at(fd, as_bytes(bytes), at);
    at += bytes.size();
    bytes.clear();
    return written;
  };
  auto added = added_.begin();
  for (std::size_t index = 0; index < known_ || added != added_.end();) {
    if (index < known_ && !stays(index)) {
      ++index;
      continue;
    }
    if (added == added_.end() || (index < known_ && key(index) < added->key)) {
      put_bytes(bytes, record(index).first(kUnusedAt));
      const auto unused = static_cast<std::uint8_t>(record(index)[kUnusedAt]);
      put_le(bytes, static_cast<std::uint8_t>(found_[index] ? 0 : unused + 1));
      ++index;
    } else {
      encode(*added++, bytes);
    }
    if (bytes.size() < kRecordsAtOnce * kRecordBytes) continue;
    if (const auto written = flush(); !written) return written;
  }
  if (const auto written = flush(); !written) return written;
  put_bytes(bytes, hasher.finish().span());
  return flush();
}

void StatCache::encode(const Entry& entry, std::string& out) {
  put_le(out, entry.key.device);
  put_le(out, entry.key.inode);
  put_le(out, entry.size);
  put_le(out, static_cast<std::uint64_t>(entry.mtime_ns));
  put_le(out, static_cast<std::uint64_t>(entry.ctime_ns));
  put_bytes(out, entry.content.id.span());
  put_le(out, static_cast<std::uint8_t>((entry.content.elf ? kElf : 0) | (entry.content.bare ? kBare : 0)));
  put_le(out, std::uint8_t{0});  // saves unused
}

}  // namespace stellarium::fs
