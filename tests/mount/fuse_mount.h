#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fs/fuse/fuse_server.h"
#include "fs/fuse/mount.h"
#include "support/fuse_image.h"
#include "support/temp_dir.h"

namespace stellarium::test {

inline fs::fuse::ViewSpec image_spec() {
  fs::fuse::ViewSpec spec;
  spec.layer = FuseImage::kLayer;
  spec.tree = FuseImage::kTree;
  return spec;
}
inline fs::fuse::ViewSpec store_spec() {
  fs::fuse::ViewSpec spec;
  spec.kind = fs::fuse::ViewSpec::Kind::store;
  return spec;
}

/// A folder with something of ours mounted on it, gone at the end.
class MountPoint {
 public:
  explicit MountPoint(std::filesystem::path dir, const fs::fuse::MountOptions& options = {}) : dir_{std::move(dir)} {
    std::filesystem::create_directories(dir_);
    auto mounted = fs::fuse::mount_session(dir_, options);
    if (!mounted) throw std::runtime_error(to_string(mounted.error()));
    device = std::move(*mounted);
    auto made = fs::fuse::FuseServer::make_table();
    if (!made) throw std::runtime_error(to_string(made.error()));
    table = std::move(*made);
  }
  MountPoint(MountPoint&& other) noexcept
      : device{std::move(other.device)}, table{std::move(other.table)}, dir_{std::exchange(other.dir_, {})} {}
  MountPoint& operator=(MountPoint&& other) noexcept {
    std::swap(device, other.device);
    std::swap(table, other.table);
    std::swap(dir_, other.dir_);
    return *this;
  }
  ~MountPoint() {
    if (!dir_.empty()) (void)fs::fuse::unmount(dir_, /*lazy=*/true);
  }
  std::filesystem::path operator/(const std::string& name) const { return dir_ / name; }
  const std::filesystem::path& path() const { return dir_; }

  UniqueFd device, table;  ///< the keeper's part

 private:
  std::filesystem::path dir_;
};

inline UniqueFd duplicate(const UniqueFd& fd) {
  return UniqueFd{::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)};
}

/// All bytes of a file. Opened with O_CLOEXEC: a server that is started meanwhile must not inherit files of its own
/// mount.
inline std::string slurp(const std::filesystem::path& path) {
  const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file) throw std::runtime_error("cannot open " + path.string() + ": " + std::strerror(errno));
  std::string bytes;
  std::vector<char> piece(128 << 10);
  while (true) {
    const ssize_t got = ::read(file.get(), piece.data(), piece.size());
    if (got < 0) throw std::runtime_error("cannot read " + path.string() + ": " + std::strerror(errno));
    if (got == 0) return bytes;
    bytes.append(piece.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace stellarium::test
