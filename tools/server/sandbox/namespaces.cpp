#include "tools/server/sandbox/namespaces.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "tools/server/sandbox/places.h"

namespace stellarium::server::sandbox {
namespace {

// By number, as all calls here: the C library of Debian 12 has them in a header that contradicts <linux/mount.h>.
constexpr int kDetach = 2;  // MNT_DETACH
constexpr char kProc[] = "/proc";

struct Tree {
  std::filesystem::path path;
  UniqueFd mount;
  bool is_folder = true;
};

Result<Tree> copy_tree(const std::filesystem::path& path, unsigned attributes) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return fail_errno(path.string());
  constexpr unsigned kFlags = unsigned{OPEN_TREE_CLONE} | unsigned{OPEN_TREE_CLOEXEC} | unsigned{AT_RECURSIVE};
  Tree tree{path, UniqueFd{static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, path.c_str(), kFlags))},
            S_ISDIR(status.st_mode)};
  if (!tree.mount) return fail_errno("copying the mount of " + path.string());
  struct mount_attr set {};
  set.attr_set = attributes;
  if (::syscall(SYS_mount_setattr, tree.mount.get(), "", unsigned{AT_EMPTY_PATH} | unsigned{AT_RECURSIVE}, &set,
                sizeof set) != 0)
    return fail_errno("restricting the mount of " + path.string());
  return tree;
}

Result<std::vector<Tree>> copy_trees(const std::filesystem::path& store, bool own_processes) {
  std::vector<Tree> trees;
  for (const Place& place : kPlaces) {
    if (own_processes && std::string_view{place.path} == kProc) continue;
    const bool device = place.use == Place::Use::write_device;
    auto tree =
        copy_tree(place.path, device ? MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC
                                     : MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (!tree && tree.error().code == Errc::not_found) continue;  // whoever uses it can do without
    if (!tree) return fail(tree.error());
    trees.push_back(std::move(*tree));
  }
  std::vector<std::filesystem::path> folders = moved_folders(store);
  folders.push_back(store);
  for (const std::filesystem::path& folder : folders) {
    auto tree = copy_tree(folder, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (!tree) return fail(tree.error());
    trees.push_back(std::move(*tree));
  }
  return trees;
}

/// Below the working folder, where the new root is being built.
Result<void> place(const Tree& tree) {
  const std::filesystem::path where = "." / tree.path.relative_path();
  std::error_code failed;
  std::filesystem::create_directories(tree.is_folder ? where : where.parent_path(), failed);
  if (failed) return fail_errno("making " + where.string(), failed.value());
  if (!tree.is_folder && !UniqueFd{::open(where.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)})
    return fail_errno("making " + where.string());
  if (::syscall(SYS_move_mount, tree.mount.get(), "", AT_FDCWD, where.c_str(), unsigned{MOVE_MOUNT_F_EMPTY_PATH}) != 0)
    return fail_errno("mounting " + tree.path.string());
  return {};
}

Result<void> mount_own_processes() {
  const auto* const where = &kProc[1];
  if (::mkdir(where, 0555) != 0 ||
      ::syscall(SYS_mount, "proc", where, "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    return fail_errno("mounting /proc");
  return {};
}

Result<void> build_root(const std::filesystem::path& store, bool own_processes) {
  // What the host unmounts must go here, too, and what is done here must not reach the host.
  if (::syscall(SYS_mount, nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0)
    return fail_errno("separating the mounts");
  const auto trees = copy_trees(store, own_processes);
  if (!trees) return fail(trees.error());
  // The new root needs a place for a moment, and the store's is the one that is known to exist.
  if (::syscall(SYS_mount, "stellarium", store.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                "mode=0755,size=64k") != 0)
    return fail_errno("making an empty root");
  if (::chdir(store.c_str()) != 0) return fail_errno("entering the empty root");
  for (const Tree& tree : *trees) {
    if (auto placed = place(tree); !placed) return placed;
  }
  if (own_processes) {
    if (auto mounted = mount_own_processes(); !mounted) return mounted;
  }
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return fail_errno("changing the root");
  // The old root lies on top of the new one now.
  if (::syscall(SYS_umount2, ".", kDetach) != 0 || ::chdir("/") != 0) return fail_errno("leaving the old root");
  struct mount_attr read_only {};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  if (::syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &read_only, sizeof read_only) != 0)
    return fail_errno("making the root read-only");
  return {};
}

}  // namespace

Result<void> enter_empty_network() {
  if (::unshare(CLONE_NEWNET) != 0) return fail_errno("making a network namespace");
  return {};
}

Result<void> enter_own_mounts(const std::filesystem::path& store, bool own_processes) {
  const UniqueFd before{::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC)};
  if (!before) return fail_errno("/proc/self/ns/mnt");
  if (::unshare(CLONE_NEWNS) != 0) return fail_errno("making a mount namespace");
  auto built = build_root(store, own_processes);
  if (built) return {};
  // A copy of the host's mounts that follows nothing would keep alive what the host unmounts: back to the host's.
  if (::setns(before.get(), CLONE_NEWNS) != 0 || ::chdir("/") != 0)
    return fail_errno("going back after " + to_string(built.error()));
  return built;
}

}  // namespace stellarium::server::sandbox
