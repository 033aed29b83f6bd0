#include "base/io.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace stellarium {
namespace {

class SystemIo final : public Io {
 public:
  Result<UniqueFd> open(int dir, const std::string& name, int flags, mode_t mode) override {
    UniqueFd fd{::openat(dir, name.c_str(), flags | O_CLOEXEC, mode)};
    if (!fd) return fail_errno("opening " + name);
    return fd;
  }

  Result<std::size_t> read_at(int fd, MutableByteSpan out, std::uint64_t offset) override {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno("reading");
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  Result<void> write_at(int fd, ByteSpan data, std::uint64_t offset) override {
    while (!data.empty()) {
      const ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno("writing");
      data = data.subspan(static_cast<std::size_t>(n));
      offset += static_cast<std::uint64_t>(n);
    }
    return {};
  }

  Result<void> write_parts_at(int fd, std::span<const ByteSpan> parts, std::uint64_t offset) override {
    std::vector<iovec> vectors;
    for (const ByteSpan part : parts) vectors.push_back({const_cast<std::byte*>(part.data()), part.size()});
    const int count = static_cast<int>(std::min<std::size_t>(vectors.size(), IOV_MAX));
    ssize_t n = -1;
    do {
      n = ::pwritev(fd, vectors.data(), count, static_cast<off_t>(offset));
    } while (n < 0 && errno == EINTR);
    if (n < 0) return fail_errno("writing");
    for (auto left = static_cast<std::size_t>(n); const ByteSpan part : parts) {  // what one call did not take
      const std::size_t done = std::min(left, part.size());
      left -= done;
      if (auto written = write_at(fd, part.subspan(done), offset + done); !written) return written;
      offset += part.size();
    }
    return {};
  }

  void begin_writing(int fd, std::uint64_t offset, std::uint64_t size) override {
    // Without the flags that wait, which would take away the error that a later sync has to see.
    (void)::sync_file_range(fd, static_cast<off64_t>(offset), static_cast<off64_t>(size), SYNC_FILE_RANGE_WRITE);
  }
  Result<void> sync_data(int fd) override { return checked(::fdatasync(fd), "fdatasync"); }
  Result<void> sync(int fd) override { return checked(::fsync(fd), "fsync"); }
  Result<void> truncate(int fd, std::uint64_t size) override {
    return checked(::ftruncate(fd, static_cast<off_t>(size)), "ftruncate");
  }
  Result<void> punch(int fd, std::uint64_t offset, std::uint64_t size) override {
    return checked(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                               static_cast<off_t>(size)),
                   "punching a hole");
  }
  Result<void> reserve(int fd, std::uint64_t offset, std::uint64_t size) override {
    return checked(::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(size)), "fallocate");
  }
  Result<void> rename(int dir, const std::string& from, const std::string& to) override {
    return checked(::renameat(dir, from.c_str(), dir, to.c_str()), "renaming " + from);
  }
  Result<void> link(int fd, int dir, const std::string& name) override {
    const std::string self = "/proc/self/fd/" + std::to_string(fd);
    return checked(::linkat(AT_FDCWD, self.c_str(), dir, name.c_str(), AT_SYMLINK_FOLLOW), "naming " + name);
  }
  Result<void> unlink(int dir, const std::string& name) override {
    return checked(::unlinkat(dir, name.c_str(), 0), "unlinking " + name);
  }
  Result<void> make_dir(int dir, const std::string& name, mode_t mode) override {
    if (::mkdirat(dir, name.c_str(), mode) != 0 && errno != EEXIST) return fail_errno("making folder " + name);
    return {};
  }
  Result<struct stat> status(int fd) override {
    struct stat st {};
    if (::fstat(fd, &st) != 0) return fail_errno("fstat");
    return st;
  }

 private:
  static Result<void> checked(int returned, const std::string& doing) {
    if (returned != 0) return fail_errno(doing);
    return {};
  }
};

}  // namespace

Result<void> Io::write_parts_at(int fd, std::span<const ByteSpan> parts, std::uint64_t offset) {
  for (const ByteSpan part : parts) {
    if (auto written = write_at(fd, part, offset); !written) return written;
    offset += part.size();
  }
  return {};
}

Io& system_io() {
  static SystemIo io;  // has no state
  return io;
}

}  // namespace stellarium
