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
constexpr std::size_t kWriteBytes = 256u << 10;
constexpr std::uint8_t kElf = 1, kBare = 2;  // flags
constexpr std::uint8_t kMaxUnusedSaves = 8;
constexpr std::int64_t kRacyNanoseconds = 2'000'000'000;

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

/// Empty if it cannot be read.
std::string bytes_of(const std::filesystem::path& file) {
  const Result<UniqueFd> fd = system_io().open(AT_FDCWD, file, O_RDONLY, 0);
  if (!fd) return {};
  const auto status = system_io().status(fd->get());
  if (!status || !S_ISREG(status->st_mode)) return {};
  std::string bytes(static_cast<std::size_t>(status->st_size), '\0');
  const auto read = system_io().read_at(fd->get(), std::as_writable_bytes(std::span{bytes}), 0);
  if (!read) return {};
  bytes.resize(*read);
  return bytes;
}

}  // namespace

StatCache::StatCache(std::filesystem::path file) : file_{std::move(file)} {
  load();
}

void StatCache::load() {
  const std::string bytes = bytes_of(file_);
  // The last 32 bytes are the BLAKE3 of the rest: a cache that was cut or damaged must not name wrong contents.
  if (bytes.size() < kHeaderBytes + cas::Hash::kSize) return;
  const std::string_view body = std::string_view{bytes}.substr(0, bytes.size() - cas::Hash::kSize);
  if (cas::hash_of(as_bytes(body)).text() != std::string_view{bytes}.substr(body.size())) return;
  ByteReader reader{as_bytes(body)};
  if (reader.text(kCacheMagic.size()) != kCacheMagic || reader.le<std::uint32_t>() != kCacheVersion) return;
  if (reader.left() % kRecordBytes != 0) return;
  while (!reader.at_end()) {
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
    if (!entries_.empty() && entries_.back().key >= entry.key) return entries_.clear();
    entries_.push_back(entry);
  }
  sorted_ = entries_.size();
}

StatCache::Entry* StatCache::look_up(const Key& key) {
  const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(sorted_);
  const auto at = std::lower_bound(entries_.begin(), end, key,
                                   [](const Entry& entry, const Key& wanted) { return entry.key < wanted; });
  return at != end && at->key == key ? &*at : nullptr;
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
  } else if (entries_.size() < kMaxEntries) {
    entries_.push_back(entry);
  }
  changed_ = true;
}

std::vector<std::uint64_t> StatCache::file_sizes(std::uint64_t smallest) const {
  std::vector<std::uint64_t> sizes;
  for (const Entry& entry : entries_)
    if (entry.size >= smallest) sizes.push_back(entry.size);
  return sizes;
}

Result<void> StatCache::save() {
  if (!changed_) return {};
  const auto by_key = [](const Entry& a, const Entry& b) { return a.key < b.key; };
  const auto added = entries_.begin() + static_cast<std::ptrdiff_t>(sorted_);
  std::sort(added, entries_.end(), by_key);
  std::inplace_merge(entries_.begin(), added, entries_.end(), by_key);
  // A tree that was sent twice in one run was remembered twice.
  const auto from =
      std::unique(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.key == b.key; });
  entries_.erase(from, entries_.end());
  std::erase_if(entries_, [](const Entry& entry) { return entry.unused_saves > kMaxUnusedSaves; });
  sorted_ = entries_.size();

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

Result<void> StatCache::write(int fd) {
  cas::Hasher hasher;
  std::string bytes{kCacheMagic};
  put_le(bytes, kCacheVersion);
  std::uint64_t at = 0;
  const auto flush = [&]() -> Result<void> {
    hasher.update(as_bytes(bytes));
    const auto written = system_io().write_at(fd, as_bytes(bytes), at);
    at += bytes.size();
    bytes.clear();
    return written;
  };
  for (const Entry& entry : entries_) {
    put_le(bytes, entry.key.device);
    put_le(bytes, entry.key.inode);
    put_le(bytes, entry.size);
    put_le(bytes, static_cast<std::uint64_t>(entry.mtime_ns));
    put_le(bytes, static_cast<std::uint64_t>(entry.ctime_ns));
    put_bytes(bytes, entry.content.id.span());
    put_le(bytes, static_cast<std::uint8_t>((entry.content.elf ? kElf : 0) | (entry.content.bare ? kBare : 0)));
    put_le(bytes, entry.unused_saves);
    if (bytes.size() < kWriteBytes) continue;
    if (const auto written = flush(); !written) return written;
  }
  if (const auto written = flush(); !written) return written;
  put_bytes(bytes, hasher.finish().span());
  return flush();
}

}  // namespace stellarium::fs
