#include "fs/fuse/mount.h"

#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <memory>

#include "fs/fuse/mount_table.h"

namespace stellarium::fs::fuse {
namespace {

constexpr const char* kType = "fuse.stellarium";

Result<std::filesystem::path> checked_mountpoint(const std::filesystem::path& dir) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(dir, error);
  if (error) return fail_errno("mountpoint " + dir.string(), error.value());
  if (!std::filesystem::is_directory(real, error)) return fail_errno("mountpoint " + dir.string(), ENOTDIR);
  return real;
}

/// As root: the mount system call. The permission checks stay with the kernel (default_permissions).
Result<UniqueFd> mount_as_root(const std::filesystem::path& dir, const MountOptions& options) {
  UniqueFd device{::open("/dev/fuse", O_RDWR | O_CLOEXEC)};
  if (!device) return fail_errno("opening /dev/fuse (is the fuse module loaded?)");
  std::string data = "fd=" + std::to_string(device.get()) + ",rootmode=40000,user_id=0,group_id=0,default_permissions";
  if (options.allow_other) data += ",allow_other";
  const unsigned long flags = options.flags | (options.read_only ? MS_RDONLY : 0);
  if (::mount(options.source.c_str(), dir.c_str(), kType, flags, data.c_str()) != 0) {
    return fail_errno("mounting on " + dir.string());
  }
  return device;
}

struct SessionDeleter {
  void operator()(fuse_session* session) const { ::fuse_session_destroy(session); }
};

/// As a user: libfuse asks the setuid program fusermount3, which also decides about allow_other.
Result<UniqueFd> mount_as_user(const std::filesystem::path& dir, const MountOptions& options) {
  std::string text = "default_permissions,subtype=stellarium,fsname=" + options.source;
  if (options.read_only) text += ",ro";
  if (options.allow_other) text += ",allow_other";
  text += flags_for_fusermount(options.flags);
  std::array<std::string, 3> words{"stellarium", "-o", text};
  std::array<char*, 4> argv{words[0].data(), words[1].data(), words[2].data(), nullptr};
  fuse_args args{3, argv.data(), 0};
  const fuse_lowlevel_ops none{};  // libfuse only mounts; our own core serves the descriptor
  const std::unique_ptr<fuse_session, SessionDeleter> session{::fuse_session_new(&args, &none, sizeof none, nullptr)};
  ::fuse_opt_free_args(&args);
  if (!session) return fail(Errc::invalid_argument, "libfuse refuses the mount options '" + text + "'");
  if (::fuse_session_mount(session.get(), dir.c_str()) != 0) {
    return fail(Errc::permission, "mounting on " + dir.string() +
                                      " as a user (is fusermount3 installed? allow_other needs " +
                                      "user_allow_other in /etc/fuse.conf)");
  }
  UniqueFd device{::fcntl(::fuse_session_fd(session.get()), F_DUPFD_CLOEXEC, 0)};
  if (!device) return fail_errno("duplicating the FUSE descriptor");
  return device;
}

/// Who holds `dir` busy, as far as /proc tells: "bash (7), sleep (8)". Reads links only and touches nothing below
/// `dir`.
std::string users_of(const std::string& dir) {
  const auto inside = [&dir](const std::filesystem::path& link) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(link, error).string();
    return !error && target.starts_with(dir) && (target.size() == dir.size() || target[dir.size()] == '/');
  };
  std::string users;
  std::error_code error;
  for (const auto& process : std::filesystem::directory_iterator{"/proc", error}) {
    const std::string pid = process.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    bool uses = inside(process.path() / "cwd") || inside(process.path() / "root") || inside(process.path() / "exe");
    std::error_code unreadable;
    for (const auto& fd : std::filesystem::directory_iterator{process.path() / "fd", unreadable}) {
      uses = uses || inside(fd.path());
    }
    if (!uses) continue;
    std::string name;
    std::getline(std::ifstream{process.path() / "comm"}, name);
    users += (users.empty() ? "" : ", ") + name + " (" + pid + ")";
  }
  return users;
}

Result<void> unmount_as_user(const std::string& dir, bool lazy) {
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("starting fusermount3");
  if (child == 0) {
    ::execlp("fusermount3", "fusermount3", lazy ? "-uz" : "-u", "--", dir.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail(Errc::busy, "fusermount3 could not unmount " + dir);
}

}  // namespace

Result<UniqueFd> mount_session(const std::filesystem::path& dir, const MountOptions& options) {
  const Result<std::filesystem::path> mountpoint = checked_mountpoint(dir);
  if (!mountpoint) return fail(mountpoint.error());
  return ::geteuid() == 0 ? mount_as_root(*mountpoint, options) : mount_as_user(*mountpoint, options);
}

Result<void> unmount(const std::filesystem::path& dir, bool lazy) {
  // Only the parent is resolved: looking at the mountpoint itself would ask a server that may be dead.
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(dir, error).lexically_normal();
  const std::filesystem::path plain = whole.has_filename() ? whole : whole.parent_path();
  const std::filesystem::path parent = std::filesystem::canonical(plain.parent_path(), error);
  if (error) return fail_errno("unmounting " + dir.string(), error.value());
  const std::string path = (parent / plain.filename()).string();
  const auto entry = mount_on(path);
  if (!entry || entry->type != kType) {
    return fail(Errc::invalid_argument, "nothing of Stellarium is mounted on " + dir.string());
  }
  Result<void> done;
  if (::geteuid() != 0) {
    done = unmount_as_user(path, lazy);
  } else if (::umount2(path.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) != 0) {
    done = fail_errno("unmounting " + path);
  }
  if (done || done.error().code != Errc::busy) return done;
  const std::string users = users_of(path);
  return fail(Errc::busy, "unmounting " + path + ": in use" + (users.empty() ? "" : " by " + users));
}

}  // namespace stellarium::fs::fuse
