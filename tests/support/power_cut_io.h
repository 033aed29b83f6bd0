#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/io.h"

namespace stellarium::test {

/// The real Io, with a memory of what a disk would hold if the power went now: of every file that was opened for
/// writing, its bytes at its last fdatasync; of every new name, whether its folder was synced since.
///
/// Model:   pessimistic. No unsynced write, hole, truncation or name survives `cut`. (Removed names stay removed.)
/// Threads: as Io, except `cut`, which comes after everything else stopped.
class PowerCutIo final : public Io {
 public:
  Result<UniqueFd> open(int dir, const std::string& name, int flags, mode_t mode) override {
    auto fd = real_.open(dir, name, flags, mode);
    if (!fd || (flags & O_ACCMODE) == O_RDONLY) return fd;
    const std::lock_guard lock{mutex_};
    const auto status = real_.status(fd->get());
    if (!status) return fail(status.error());
    File& file = files_[status->st_ino];
    if (file.folder.empty()) {
      file.folder = path_of(dir);
      file.name = name;
      file.named = (flags & O_CREAT) == 0;
      if (file.named) file.durable = contents(fd->get());
    }
    return fd;
  }
  Result<void> sync_data(int fd) override {
    if (auto ok = real_.sync_data(fd); !ok) return ok;
    return remember(fd);
  }
  Result<void> sync(int fd) override {
    if (auto ok = real_.sync(fd); !ok) return ok;
    const auto status = real_.status(fd);
    if (!status) return fail(status.error());
    if (!S_ISDIR(status->st_mode)) return remember(fd);
    const std::lock_guard lock{mutex_};
    for (auto& [inode, file] : files_)
      if (file.folder == path_of(fd)) file.named = true;
    return {};
  }
  Result<void> unlink(int dir, const std::string& name) override {
    const std::lock_guard lock{mutex_};
    std::erase_if(files_, [&](const auto& entry) { return is(entry.second, dir, name); });
    return real_.unlink(dir, name);
  }
  Result<std::size_t> read_at(int fd, MutableByteSpan out, std::uint64_t offset) override {
    return real_.read_at(fd, out, offset);
  }
  Result<void> write_at(int fd, ByteSpan data, std::uint64_t offset) override {
    return real_.write_at(fd, data, offset);
  }
  Result<void> truncate(int fd, std::uint64_t size) override { return real_.truncate(fd, size); }
  Result<void> punch(int fd, std::uint64_t offset, std::uint64_t size) override {
    return real_.punch(fd, offset, size);
  }
  Result<void> reserve(int fd, std::uint64_t offset, std::uint64_t size) override {
    return real_.reserve(fd, offset, size);
  }
  Result<void> rename(int dir, const std::string& from, const std::string& to) override {
    {
      const std::lock_guard lock{mutex_};
      for (auto& [inode, file] : files_) {
        if (is(file, dir, from)) file.name = to;
      }
    }
    return real_.rename(dir, from, to);
  }
  Result<void> link(int fd, int dir, const std::string& name) override { return real_.link(fd, dir, name); }
  Result<void> make_dir(int dir, const std::string& name, mode_t mode) override {
    return real_.make_dir(dir, name, mode);
  }
  Result<struct stat> status(int fd) override { return real_.status(fd); }

  /// The power goes: all files become what the disk holds. Returns how many lost something, or -1.
  int cut() {
    int changed = 0;
    for (const auto& [inode, file] : files_) {
      const std::string path = file.folder + "/" + file.name;
      if (!file.named) {
        changed += ::unlink(path.c_str()) == 0 ? 1 : 0;
        continue;
      }
      auto fd = real_.open(AT_FDCWD, path, O_RDWR, 0);
      if (!fd) continue;
      if (contents(fd->get()) == file.durable) continue;
      ++changed;
      if (!real_.truncate(fd->get(), 0) || !real_.write_at(fd->get(), file.durable, 0)) return -1;
    }
    files_.clear();
    return changed;
  }

 private:
  struct File {
    std::string folder, name;
    bool named = false;
    std::vector<std::byte> durable;
  };
  static std::string path_of(int dir) {
    if (dir == AT_FDCWD) return ".";
    return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(dir));
  }
  static bool is(const File& file, int dir, const std::string& name) {
    return file.name == name && file.folder == path_of(dir);
  }
  std::vector<std::byte> contents(int fd) {
    const auto status = real_.status(fd);
    std::vector<std::byte> bytes(status ? static_cast<std::size_t>(status->st_size) : 0);
    const auto readable = real_.open(AT_FDCWD, "/proc/self/fd/" + std::to_string(fd), O_RDONLY, 0);
    const auto read = readable ? real_.read_at(readable->get(), bytes, 0) : Result<std::size_t>{0};
    bytes.resize(read ? *read : 0);
    return bytes;
  }
  Result<void> remember(int fd) {
    const auto status = real_.status(fd);
    if (!status) return fail(status.error());
    const std::lock_guard lock{mutex_};
    if (const auto file = files_.find(status->st_ino); file != files_.end()) file->second.durable = contents(fd);
    return {};
  }

  Io& real_ = system_io();
  std::mutex mutex_;
  std::map<ino_t, File> files_;
};

}  // namespace stellarium::test
