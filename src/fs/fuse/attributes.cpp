#include "fs/fuse/attributes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint32_t kBlockSize = 4096;

// Programs that compare a tree with its copy (find -printf, du) expect what ext4 shows: a folder takes a block, and so
// does the target of a symlink that is too long for the inode.
constexpr std::uint64_t kFolderBytes = kBlockSize;
constexpr std::uint64_t kMaxSymlinkInInode = 59;

std::uint64_t shown_size(const Inode& inode) {
  return S_ISDIR(inode.mode) ? kFolderBytes : inode.size;
}

/// In units of 512 bytes.
std::uint64_t blocks_of(const Inode& inode) {
  std::uint64_t bytes = 0;
  if (S_ISREG(inode.mode)) bytes = inode.allocated;
  if (S_ISDIR(inode.mode)) bytes = kFolderBytes;
  if (S_ISLNK(inode.mode) && inode.size > kMaxSymlinkInInode) bytes = kBlockSize;
  return (bytes / kBlockSize + (bytes % kBlockSize != 0 ? 1 : 0)) * (kBlockSize / 512);
}

/// Device numbers travel in the kernel's 32-bit form: 12 bits of major between 8 low and 12 high bits of minor.
std::uint32_t encode_device(std::uint64_t device) {
  const std::uint32_t number_major = gnu_dev_major(device);
  const std::uint32_t number_minor = gnu_dev_minor(device);
  return (number_minor & 0xff) | (number_major << 8) | ((number_minor & ~0xffu) << 12);
}

abi::StatxTime to_statx_time(const Timespec& time) {
  return {time.seconds, time.nanoseconds, 0};
}

}  // namespace

abi::Attr to_attr(const Inode& inode, std::uint64_t ino) {
  abi::Attr attr{};
  attr.ino = ino;
  attr.size = shown_size(inode);
  attr.blocks = blocks_of(inode);
  attr.atime = static_cast<std::uint64_t>(inode.atime.seconds);
  attr.mtime = static_cast<std::uint64_t>(inode.mtime.seconds);
  attr.ctime = static_cast<std::uint64_t>(inode.ctime.seconds);
  attr.atime_nsec = inode.atime.nanoseconds;
  attr.mtime_nsec = inode.mtime.nanoseconds;
  attr.ctime_nsec = inode.ctime.nanoseconds;
  attr.mode = inode.mode;
  attr.nlink = inode.nlink;
  attr.uid = inode.uid;
  attr.gid = inode.gid;
  attr.rdev = encode_device(inode.rdev);
  attr.blksize = kBlockSize;
  return attr;
}

std::uint64_t decode_device(std::uint32_t device) {
  return gnu_dev_makedev((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & ~0xffu));
}

abi::Statx to_statx(const Inode& inode, std::uint64_t ino) {
  abi::Statx stat{};
  stat.mask = STATX_BASIC_STATS | (inode.btime == Timespec{} ? 0 : STATX_BTIME);  // tars tell of none
  stat.blksize = kBlockSize;
  stat.nlink = inode.nlink;
  stat.uid = inode.uid;
  stat.gid = inode.gid;
  stat.mode = static_cast<std::uint16_t>(inode.mode);
  stat.ino = ino;
  stat.size = shown_size(inode);
  stat.blocks = blocks_of(inode);
  stat.atime = to_statx_time(inode.atime);
  stat.btime = to_statx_time(inode.btime);
  stat.ctime = to_statx_time(inode.ctime);
  stat.mtime = to_statx_time(inode.mtime);
  stat.rdev_major = gnu_dev_major(inode.rdev);
  stat.rdev_minor = gnu_dev_minor(inode.rdev);
  return stat;
}

}  // namespace stellarium::fs::fuse
