#pragma once
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/io.h"

namespace stellarium::test {

/// The real Io, until call N changes something: that one fails. Counting only calls that change or sync files, N can be
/// swept from 0 up until a run ends without reaching it (the method of SQLite's fault tests).
///
/// A failing write leaves the first half of its data in the file, a failing sync leaves unknown what is on disk.
/// Threads: as Io.
class FaultIo : public Io {
 public:
  explicit FaultIo(Io& real = system_io()) : real_{real} {}

  /// Call `call` from now on (0: the next one) fails with `sys_errno`; with `forever` all later ones fail, too.
  void fail_at(std::uint64_t call, int sys_errno, bool forever = false) {
    const std::lock_guard lock{mutex_};
    fault_ = Fault{calls_.size() + call, sys_errno, forever};
    reached_ = false;
  }
  /// Every read fails with `sys_errno` from now on; 0: none does.
  void fail_reads(int sys_errno) {
    const std::lock_guard lock{mutex_};
    read_errno_ = sys_errno;
  }
  bool reached() const {
    const std::lock_guard lock{mutex_};
    return reached_;
  }
  /// The names of all changing calls so far, in order: "write_at", "sync_data", …
  std::vector<std::string> calls() const {
    const std::lock_guard lock{mutex_};
    return calls_;
  }

  Result<UniqueFd> open(int dir, const std::string& name, int flags, mode_t mode) override {
    return real_.open(dir, name, flags, mode);
  }
  Result<std::size_t> read_at(int fd, MutableByteSpan out, std::uint64_t offset) override {
    const int sys_errno = [&] {
      const std::lock_guard lock{mutex_};
      return read_errno_;
    }();
    if (sys_errno != 0) return fail_errno("reading", sys_errno);
    return real_.read_at(fd, out, offset);
  }
  Result<struct stat> status(int fd) override { return real_.status(fd); }

  Result<void> write_at(int fd, ByteSpan data, std::uint64_t offset) override {
    if (const auto fault = next("write_at")) {
      if (auto half = real_.write_at(fd, data.first(data.size() / 2), offset); !half) return half;
      return fail_errno("writing", *fault);
    }
    return real_.write_at(fd, data, offset);
  }
  Result<void> write_parts_at(int fd, std::span<const ByteSpan> parts, std::uint64_t offset) override {
    if (const auto fault = next("write_parts_at")) {
      if (auto half = real_.write_parts_at(fd, parts.first(parts.size() / 2), offset); !half) return half;
      return fail_errno("writing", *fault);
    }
    return real_.write_parts_at(fd, parts, offset);
  }
  Result<void> sync_data(int fd) override {
    return checked("sync_data", [&] { return real_.sync_data(fd); });
  }
  Result<void> sync(int fd) override {
    return checked("sync", [&] { return real_.sync(fd); });
  }
  Result<void> truncate(int fd, std::uint64_t size) override {
    return checked("truncate", [&] { return real_.truncate(fd, size); });
  }
  Result<void> punch(int fd, std::uint64_t offset, std::uint64_t size) override {
    return checked("punch", [&] { return real_.punch(fd, offset, size); });
  }
  Result<void> reserve(int fd, std::uint64_t offset, std::uint64_t size) override {
    return checked("reserve", [&] { return real_.reserve(fd, offset, size); });
  }
  Result<void> rename(int dir, const std::string& from, const std::string& to) override {
    return checked("rename", [&] { return real_.rename(dir, from, to); });
  }
  Result<void> link(int fd, int dir, const std::string& name) override {
    return checked("link", [&] { return real_.link(fd, dir, name); });
  }
  Result<void> unlink(int dir, const std::string& name) override {
    return checked("unlink", [&] { return real_.unlink(dir, name); });
  }
  Result<void> make_dir(int dir, const std::string& name, mode_t mode) override {
    return checked("make_dir", [&] { return real_.make_dir(dir, name, mode); });
  }

 private:
  struct Fault {
    std::uint64_t call;
    int sys_errno;
    bool forever;
  };
  /// Counts a call; the errno it must fail with, if it must.
  std::optional<int> next(const char* name) {
    const std::lock_guard lock{mutex_};
    const std::uint64_t call = calls_.size();
    calls_.emplace_back(name);
    if (!fault_ || call < fault_->call || (call > fault_->call && !fault_->forever)) return std::nullopt;
    reached_ = true;
    return fault_->sys_errno;
  }
  template <typename Call>
  Result<void> checked(const char* name, Call call) {
    if (const auto fault = next(name)) return fail_errno(name, *fault);
    return call();
  }

  Io& real_;
  mutable std::mutex mutex_;
  std::vector<std::string> calls_;
  std::optional<Fault> fault_;
  int read_errno_ = 0;
  bool reached_ = false;
};

}  // namespace stellarium::test
