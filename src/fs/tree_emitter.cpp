#include "fs/tree_emitter.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <span>

#include "base/raw_bytes.h"
#include "base/unique_fd.h"
#include "fs/member_window.h"
#include "fs/pax_writer.h"
#include "fs/xattr_reader.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kPieceBytes = 256 << 10;
constexpr std::size_t kListingBytes = 32 << 10;
constexpr std::uint64_t kBlock = 4096;
constexpr std::uint64_t kMaxAtOnce = 64u << 20;  // larger ones show progress while they are sent

/// The names in a directory just opened, in byte order, without "." and "..". `buffer` is what the kernel lists them
/// into.
Result<std::vector<std::string>> names_in(int dir, const std::string& path, std::span<std::byte> buffer) {
  std::vector<std::string> names;
  for (;;) {
    const ssize_t size = ::getdents64(dir, buffer.data(), buffer.size());
    if (size < 0 && errno != ENOENT) return fail_errno("reading folder " + path);
    if (size <= 0) break;  // also of one that was removed meanwhile
    for (ssize_t at = 0; at < size;) {
      const auto* const entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += entry->d_reclen;
      const std::string_view name{entry->d_name};
      if (name != "." && name != "..") names.emplace_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Where a file has data. An unseekable or odd file system answers "everywhere".
std::vector<DataExtent> extents_of(int fd, std::uint64_t size) {
  std::vector<DataExtent> extents;
  for (std::uint64_t at = 0; at < size;) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // nothing but a hole up to the end
    const off_t hole = data < 0 ? -1 : ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0) return {{0, size}};
    const auto from = static_cast<std::uint64_t>(data);
    const auto to = std::min(static_cast<std::uint64_t>(hole), size);
    if (from < to) extents.push_back({from, to - from});
    at = static_cast<std::uint64_t>(hole);
  }
  return extents;
}

class TreeWalk {
 public:
  TreeWalk(ByteOutput& out, const EmitOptions& options, EmitObserver& observer)
      : options_{options}, observer_{observer}, writer_{out}, window_{writer_, observer}, listing_(kListingBytes) {}

  Result<void> run(int root) {
    struct stat status {};
    if (::fstat(root, &status) != 0) return fail_errno("reading the root folder");
    if (!S_ISDIR(status.st_mode)) return fail(Errc::invalid_argument, "the root is not a folder");
    root_device_ = status.st_dev;
    PaxMember member = member_of(".", status);
    auto xattrs = xattrs_.all_of(root, ".", ".");
    if (!xattrs) return fail(xattrs.error());
    member.xattrs = std::move(*xattrs);
    if (const auto added = window_.add(std::move(member)); !added) return added;

    UniqueFd top{::openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};  // the caller's may have been read already
    if (!top) return fail_errno("opening the root folder");
    if (const auto entered = enter(std::move(top), ""); !entered) return entered;
    while (!stack_.empty()) {
      Level& level = stack_.back();
      if (level.next == level.names.size()) {
        stack_.pop_back();
        continue;
      }
      const std::string name = std::move(level.names[level.next++]);
      const Folder folder = level.dir;  // `level` may move
      if (const auto emitted = entry(folder, level.path + name, name); !emitted) return emitted;
    }
    if (const auto drained = window_.drain(); !drained) return drained;
    return writer_.finish();
  }

 private:
  using Folder = std::shared_ptr<const UniqueFd>;  // files that wait to be read keep it open
  struct Level {
    Folder dir;
    std::string path;  // with a slash at its end, or empty for the root
    std::vector<std::string> names;
    std::size_t next = 0;
  };

  static PaxMember member_of(const std::string& path, const struct stat& status) {
    PaxMember member;
    member.path = path;
    member.mode = status.st_mode;
    member.uid = status.st_uid;
    member.gid = status.st_gid;
    member.rdev = status.st_rdev;
    member.size = S_ISREG(status.st_mode) ? static_cast<std::uint64_t>(status.st_size) : 0;
    member.mtime = {status.st_mtim.tv_sec, static_cast<std::uint32_t>(status.st_mtim.tv_nsec)};
    return member;
  }

  bool excluded(const std::string& path, const std::string& name) const {
    return std::any_of(options_.exclude.begin(), options_.exclude.end(), [&](const std::string& pattern) {
      return ::fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME) == 0 ||
             ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
    });
  }

  Result<void> enter(UniqueFd dir, const std::string& path) {
    Result<std::vector<std::string>> names = names_in(dir.get(), path.empty() ? "." : path, listing_);
    if (!names) return fail(names.error());
    stack_.push_back({std::make_shared<const UniqueFd>(std::move(dir)), path, std::move(*names)});
    return {};
  }

  Result<void> entry(const Folder& folder, const std::string& path, const std::string& name) {
    if (excluded(path, name)) return {};
    const int dir = folder->get();
    struct stat status {};
    if (::fstatat(dir, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno != ENOENT) return fail_errno("reading " + path);
      return vanished(path);
    }
    if (!observer_.progress(++files_, bytes_)) return fail(Errc::cancelled, "stopped");
    if (S_ISSOCK(status.st_mode)) {
      observer_.note(path + ": a socket, skipped");
      return {};
    }
    PaxMember member = member_of(path, status);
    if (!S_ISDIR(status.st_mode) && status.st_nlink > 1) {
      const auto [first, is_new] = links_.try_emplace({status.st_dev, status.st_ino}, path);
      if (!is_new) {
        member.hard_link = first->second;
        return window_.add(std::move(member));
      }
    }
    // Inline contents are no chunks that could be named.
    std::optional<KnownContent> known;
    if (S_ISREG(status.st_mode) && member.size > kMaxInlineContent) known = observer_.known(path, status);
    if (!known || !known->bare) {
      auto xattrs = xattrs_.all_of(dir, name, path);
      if (!xattrs) return fail(xattrs.error());
      member.xattrs = std::move(*xattrs);
    }
    if (S_ISREG(status.st_mode)) return regular({folder, name}, status, std::move(member), known);
    if (S_ISLNK(status.st_mode)) return symlink(dir, name, std::move(member));
    if (S_ISDIR(status.st_mode)) return this->folder(dir, name, status, std::move(member));
    return window_.add(std::move(member));
  }

  Result<void> folder(int dir, const std::string& name, const struct stat& status, PaxMember member) {
    const std::string path = member.path;
    if (const auto added = window_.add(std::move(member)); !added) return added;
    if (options_.one_file_system && status.st_dev != root_device_) {
      observer_.note(path + ": another file system is mounted here, its content is not imported");
      return {};
    }
    UniqueFd inside{::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    if (!inside) return fail_errno("opening folder " + path);
    return enter(std::move(inside), path + "/");
  }

  Result<void> symlink(int dir, const std::string& name, PaxMember member) {
    std::array<char, PATH_MAX> target;  // a window of members is kept: each holds what it needs
    const ssize_t size = ::readlinkat(dir, name.c_str(), target.data(), target.size());
    if (size < 0) return fail_errno("reading link " + member.path);
    member.symlink.assign(target.data(), static_cast<std::size_t>(size));
    return window_.add(std::move(member));
  }

  Result<void> vanished(const std::string& path) {
    observer_.note(path + ": vanished while it was read");
    return {};
  }

  Result<void> regular(MemberWindow::Source source, const struct stat& status, PaxMember member,
                       const std::optional<KnownContent>& known) {
    // Fewer blocks than bytes: there may be holes (or compression, or inline data: SEEK_HOLE decides).
    const bool maybe_sparse = static_cast<std::uint64_t>(status.st_blocks) * 512 < (member.size & ~(kBlock - 1));
    if (member.size == 0) return window_.add(std::move(member));
    if (known && !maybe_sparse) {
      make_reference(member, *known, member.size);
      return window_.add(std::move(member));
    }
    const bool unread = !known && member.size >= MemberWindow::kMinUnread && !observer_.knows_size(member.size);
    // Other names of the file will refer to this one.
    const bool needed = status.st_nlink > 1;
    if (!maybe_sparse && !unread && !needed && member.size <= MemberWindow::kBytes) {
      bytes_ += member.size;
      return window_.add_file(std::move(member), std::move(source), status);
    }

    if (const int error = source.open(); error != 0) {
      if (error != ENOENT) return fail_errno("opening " + member.path, error);
      if (needed) links_.erase({status.st_dev, status.st_ino});
      return vanished(member.path);
    }
    const int file = source.file.get();
    std::vector<DataExtent> extents{{0, member.size}};
    if (maybe_sparse) {
      extents = extents_of(file, member.size);
      member.sparse = extents != std::vector<DataExtent>{{0, member.size}};
      if (member.sparse) member.extents = extents;
    }
    if (known) {
      std::uint64_t allocated = 0;
      for (const DataExtent& extent : extents) allocated += extent.size;
      member.sparse = false;
      make_reference(member, *known, allocated);
      return window_.add(std::move(member));
    }
    if (!member.sparse && member.size <= kMaxAtOnce) {
      bytes_ += member.size;
      if (unread || member.size > MemberWindow::kBytes)
        return window_.add_unread(std::move(member), std::move(source.file), status);
      return window_.add_file(std::move(member), std::move(source), status);
    }
    return stream(file, extents, status, member);
  }

  /// Very large and sparse files go into the stream as they are read.
  Result<void> stream(int file, const std::vector<DataExtent>& extents, const struct stat& status,
                      const PaxMember& member) {
    if (const auto drained = window_.drain(); !drained) return drained;
    if (const auto begun = writer_.begin(member); !begun) return begun;
    observer_.data_sent(member.path, status, {.id = {}, .elf = begins_as_elf(file), .bare = false});
    std::uint64_t at = 0;
    for (const DataExtent& extent : extents) {
      if (const auto skipped = writer_.zeros(extent.offset - at); !skipped) return skipped;
      if (const auto sent = send(file, extent, member.path); !sent) return sent;
      at = extent.offset + extent.size;
    }
    return writer_.zeros(member.size - at);
  }

  Result<void> send(int file, const DataExtent& extent, const std::string& path) {
    if (buffer_.size() == 0) buffer_ = RawBytes{kPieceBytes};
    for (std::uint64_t done = 0; done < extent.size;) {
      const std::size_t want = std::min<std::uint64_t>(buffer_.size(), extent.size - done);
      const ssize_t n = ::pread(file, buffer_.data(), want, static_cast<off_t>(extent.offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno("reading " + path);
      if (n == 0) {
        observer_.note(path + ": became shorter while it was read, filled with zeros");
        return writer_.zeros(extent.size - done);
      }
      if (const auto written = writer_.data({buffer_.data(), static_cast<std::size_t>(n)}); !written) return written;
      done += static_cast<std::uint64_t>(n);
      bytes_ += static_cast<std::uint64_t>(n);
      if (!observer_.progress(files_, bytes_)) return fail(Errc::cancelled, "stopped");
    }
    return {};
  }

  const EmitOptions& options_;
  EmitObserver& observer_;
  PaxWriter writer_;
  MemberWindow window_;
  XattrReader xattrs_;
  std::vector<std::byte> listing_;  // what the kernel lists folders into
  RawBytes buffer_;                 // pieces of large files
  std::vector<Level> stack_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;  // hard-linked inodes → first name
  dev_t root_device_ = 0;
  std::uint64_t files_ = 0, bytes_ = 0;
};

}  // namespace

Result<void> emit_tree(int root, ByteOutput& out, const EmitOptions& options, EmitObserver& observer) {
  return TreeWalk{out, options, observer}.run(root);
}

}  // namespace stellarium::fs
