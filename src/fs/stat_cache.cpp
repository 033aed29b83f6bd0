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
  if (!load()) known_ = {};
}

bool StatCache::load() {
  const Result<UniqueFd> fd = system_io().open(AT_FDCWD, file_, O_RDONLY, 0);
  if (!fd) return false;
  const auto status = system_io().status(fd->get());
  if (!status || !S_ISREG(status->st_mode)) return false;
  const auto size = static_cast<std::uint64_t>(status->st_size);
  if (size < kHeaderBytes + cas::Hash::kSize || size > kMostBytes) return false;
  const std::uint64_t end = size - cas::Hash::kSize;  // of the records
  if ((end - kHeaderBytes) % kRecordBytes != 0) return false;

  cas::Hasher hasher;
  std::vector<std::byte> bytes(kRecordsAtOnce * kRecordBytes);
  std::uint64_t at = 0;
  const auto next = [&](std::uint64_t count) {
    const MutableByteSpan part{bytes.data(), static_cast<std::size_t>(count)};
    const auto read = system_io().read_at(fd->get(), part, at);
    if (!read || *read != count) return ByteReader{{}};
    if (at < end) hasher.update(part);
    at += count;
    return ByteReader{part};
  };
  ByteReader header = next(kHeaderBytes);
  if (header.text(kCacheMagic.size()) != kCacheMagic || header.le<std::uint32_t>() != kCacheVersion) return false;
  known_.reserve(static_cast<std::size_t>((end - at) / kRecordBytes));
  while (at < end) {
    ByteReader records = next(std::min<std::uint64_t>(bytes.size(), end - at));
    if (records.at_end()) return false;  // it could not be read
    while (!records.at_end()) {
      known_.push_back(decode(records));
      if (known_.size() > 1 && known_[known_.size() - 2].key >= known_.back().key) return false;
    }
  }
  // The last 32 bytes are the BLAKE3 of the rest: a cache that was cut or damaged must not name wrong contents.
  return next(cas::Hash::kSize).text(cas::Hash::kSize) == hasher.finish().text();
}

StatCache::Entry StatCache::decode(ByteReader& reader) {
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
  entry.unused_saves = static_cast<std::uint8_t>(reader.le<std::uint8_t>() + 1);
  return entry;
}

StatCache::Entry* StatCache::look_up(const Key& key) {
  const auto at = std::ranges::lower_bound(known_, key, {}, &Entry::key);
  return at != known_.end() && at->key == key ? &*at : nullptr;
}

std::optional<KnownContent> StatCache::find(const struct stat& status) {
  Entry* const entry = look_up({status.st_dev, status.st_ino});
  if (entry == nullptr || entry->size != static_cast<std::uint64_t>(status.st_size) ||
      entry->mtime_ns != nanoseconds(status.st_mtim) || entry->ctime_ns != nanoseconds(status.st_ctim)) {
    return {};
  }
  entry->unused_saves = 0;
  return entry->content;
}

void StatCache::remember(const struct stat& status, const KnownContent& content, const timespec& read_at) {
  const std::int64_t changed = std::max(nanoseconds(status.st_mtim), nanoseconds(status.st_ctim));
  if (nanoseconds(read_at) - changed < kRacyNanoseconds) return;
  const Key key{status.st_dev, status.st_ino};
  const Entry entry{key,
                    static_cast<std::uint64_t>(status.st_size),
                    nanoseconds(status.st_mtim),
                    nanoseconds(status.st_ctim),
                    content,
                    0};
  if (Entry* const known = look_up(key)) {
    *known = entry;
  } else if (size() < kMaxEntries) {
    added_.push_back(entry);
  }
  changed_ = true;
}

std::vector<std::uint64_t> StatCache::file_sizes(std::uint64_t smallest) const {
  std::vector<std::uint64_t> sizes;
  for (const Entry& entry : known_)
    if (entry.size >= smallest) sizes.push_back(entry.size);
  for (const Entry& entry : added_)
    if (entry.size >= smallest) sizes.push_back(entry.size);
  return sizes;
}

Result<void> StatCache::save() {
  if (!changed_) return {};
  std::ranges::sort(added_, {}, &Entry::key);
  // A tree that was sent twice in one run was remembered twice.
  const auto same_key = [](const Entry& a, const Entry& b) { return a.key == b.key; };
  added_.erase(std::unique(added_.begin(), added_.end(), same_key), added_.end());
  std::erase_if(known_, [](const Entry& entry) { return entry.unused_saves > kMaxUnusedSaves; });

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
  auto known = known_.begin();
  auto added = added_.begin();
  while (known != known_.end() || added != added_.end()) {
    const bool first = added == added_.end() || (known != known_.end() && known->key < added->key);
    encode(first ? *known++ : *added++, bytes);
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
  put_le(out, entry.unused_saves);
}

}  // namespace stellarium::fs
