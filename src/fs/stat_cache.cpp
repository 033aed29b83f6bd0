#include "fs/stat_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "base/bytes.h"
#include "base/io.h"

namespace stellarium::fs {
namespace {

constexpr std::string_view kMagic{"STLRSTAT", 8};
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 12;
constexpr std::size_t kRecordBytes = 8 + 8 + 8 + 8 + 8 + 32 + 1 + 1;
constexpr std::uint8_t kMaxUnusedSaves = 8;
constexpr std::int64_t kRacyNanoseconds = 2'000'000'000;

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::size_t StatCache::KeyHash::operator()(const Key& key) const noexcept {
  return static_cast<std::size_t>((key.inode * 0x9e3779b97f4a7c15ull) ^ key.device);
}

StatCache::StatCache(std::filesystem::path file) : file_{std::move(file)} {
  load();
}

void StatCache::load() {
  std::ifstream in{file_, std::ios::binary};
  const std::string bytes{std::istreambuf_iterator<char>{in}, {}};
  // The last 32 bytes are the BLAKE3 of the rest: a cache that was cut or damaged must not name wrong contents.
  if (bytes.size() < kHeaderBytes + cas::Hash::kSize) return;
  const std::string_view body = std::string_view{bytes}.substr(0, bytes.size() - cas::Hash::kSize);
  if (cas::hash_of(as_bytes(body)).text() != std::string_view{bytes}.substr(body.size())) return;
  ByteReader reader{as_bytes(body)};
  if (reader.text(kMagic.size()) != kMagic || reader.le<std::uint32_t>() != kVersion) return;
  if (reader.left() % kRecordBytes != 0) return;
  entries_.reserve(reader.left() / kRecordBytes);
  while (!reader.at_end()) {
    Key key{};
    Entry entry{};
    key.device = reader.le<std::uint64_t>();
    key.inode = reader.le<std::uint64_t>();
    entry.size = reader.le<std::uint64_t>();
    entry.mtime_ns = static_cast<std::int64_t>(reader.le<std::uint64_t>());
    entry.ctime_ns = static_cast<std::int64_t>(reader.le<std::uint64_t>());
    entry.content.id = *cas::Hash::from_bytes(reader.take(cas::Hash::kSize));
    entry.content.elf = reader.le<std::uint8_t>() != 0;
    entry.unused_saves = static_cast<std::uint8_t>(reader.le<std::uint8_t>() + 1);
    entries_.emplace(key, entry);
  }
}

std::optional<KnownContent> StatCache::find(const struct stat& status) {
  const auto found = entries_.find({status.st_dev, status.st_ino});
  if (found == entries_.end()) return {};
  Entry& entry = found->second;
  if (entry.size != static_cast<std::uint64_t>(status.st_size) || entry.mtime_ns != nanoseconds(status.st_mtim) ||
      entry.ctime_ns != nanoseconds(status.st_ctim)) {
    return {};
  }
  entry.unused_saves = 0;
  return entry.content;
}

void StatCache::remember(const struct stat& status, const KnownContent& content, const timespec& read_at) {
  const std::int64_t changed = std::max(nanoseconds(status.st_mtim), nanoseconds(status.st_ctim));
  if (nanoseconds(read_at) - changed < kRacyNanoseconds) return;
  entries_[{status.st_dev, status.st_ino}] = {static_cast<std::uint64_t>(status.st_size), nanoseconds(status.st_mtim),
                                              nanoseconds(status.st_ctim), content, 0};
  changed_ = true;
}

Result<void> StatCache::save() {
  if (!changed_) return {};
  std::string bytes{kMagic};
  put_le(bytes, kVersion);
  bytes.reserve(bytes.size() + entries_.size() * kRecordBytes + cas::Hash::kSize);
  for (const auto& [key, entry] : entries_) {
    if (entry.unused_saves > kMaxUnusedSaves) continue;
    put_le(bytes, key.device);
    put_le(bytes, key.inode);
    put_le(bytes, entry.size);
    put_le(bytes, static_cast<std::uint64_t>(entry.mtime_ns));
    put_le(bytes, static_cast<std::uint64_t>(entry.ctime_ns));
    put_bytes(bytes, entry.content.id.span());
    put_le(bytes, static_cast<std::uint8_t>(entry.content.elf));
    put_le(bytes, entry.unused_saves);
  }
  put_bytes(bytes, cas::hash_of(as_bytes(bytes)).span());

  std::error_code ignored;  // open() reports what matters
  std::filesystem::create_directories(file_.parent_path(), ignored);
  const std::filesystem::path fresh = file_.string() + "." + std::to_string(::getpid());
  Result<UniqueFd> fd = system_io().open(AT_FDCWD, fresh, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!fd) return fail(fd.error(), "saving the stat cache");
  Result<void> written = system_io().write_at(fd->get(), as_bytes(bytes), 0);
  if (written) written = system_io().rename(AT_FDCWD, fresh, file_);
  if (!written) {
    std::filesystem::remove(fresh, ignored);
    return fail(written.error(), "saving the stat cache " + file_.string());
  }
  changed_ = false;
  return {};
}

}  // namespace stellarium::fs
