#include "fs/ext4_image.h"

#include <ext2fs/ext2fs.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>

#include "fs/posix_acl.h"

namespace stellarium::fs {
namespace {

constexpr off_t kSuperAt = 1024;
constexpr std::size_t kMaxEntries = 16'000'000;  // of one folder; an entry takes 12 bytes at least, here 48
constexpr std::uint64_t kMaxTarget = 4096;       // of a symbolic link
constexpr std::uint64_t kMaxExtentEnd = std::uint64_t{1} << 32;  // blocks of a file

using Number = Ext4Image::Number;

std::string named(Number number) {
  return "inode " + std::to_string(number);
}

tl::unexpected<Error> corrupt(Number number, const std::string& what) {
  return fail(Errc::corrupt, named(number) + ": " + what + " (e2fsck may repair a copy of the image)");
}

/// What libext2fs says: an errno, or a code of its own, which tells of what it found in the image.
tl::unexpected<Error> failed(errcode_t code, const std::string& what) {
  if (code > 0 && code < 256) return fail(Error{Errc::io, what, static_cast<int>(code)});
  return fail(Errc::corrupt, what + ": " + error_message(code));
}

/// The magic number is two bytes, which one compressed archive of 65,536 has there, too: so what must be small is
/// asked.
Result<bool> has_super(int file) {
  ext2_super_block super{};
  const ssize_t got = ::pread(file, &super, sizeof super, kSuperAt);
  if (got < 0) return fail_errno("reading the image");
  return got == static_cast<ssize_t>(sizeof super) && ext2fs_le16_to_cpu(super.s_magic) == EXT2_SUPER_MAGIC &&
         ext2fs_le32_to_cpu(super.s_rev_level) <= EXT2_DYNAMIC_REV &&
         ext2fs_le32_to_cpu(super.s_log_block_size) <= EXT2_MAX_BLOCK_LOG_SIZE - EXT2_MIN_BLOCK_LOG_SIZE;
}

Result<ext2_inode_large> read_inode(ext2_filsys system, Number number) {
  if (number == 0 || number > system->super->s_inodes_count) return corrupt(number, "is none of this file system's");
  ext2_inode_large inode{};
  if (const errcode_t code =
          ext2fs_read_inode_full(system, number, reinterpret_cast<ext2_inode*>(&inode), sizeof inode);
      code != 0)
    return failed(code, named(number));
  return inode;
}

Timespec mtime_of(ext2_filsys system, const ext2_inode_large& inode) {
  Timespec time{static_cast<std::int32_t>(inode.i_mtime), 0};
  if (EXT2_INODE_SIZE(system->super) > EXT2_GOOD_OLD_INODE_SIZE &&
      inode_includes(std::size_t{EXT2_GOOD_OLD_INODE_SIZE} + inode.i_extra_isize, i_mtime_extra)) {
    // Two more bits of the seconds, then the nanoseconds.
    time.seconds += static_cast<std::int64_t>(inode.i_mtime_extra & 3) << 32;
    if (const std::uint32_t nanoseconds = inode.i_mtime_extra >> 2; nanoseconds < 1'000'000'000)
      time.nanoseconds = nanoseconds;
  }
  return time;
}

/// As the kernel's old and new encodings of device numbers lie in an inode.
std::uint64_t device_of(const ext2_inode_large& inode) {
  if (const std::uint32_t old = inode.i_block[0]; old != 0) return makedev((old >> 8) & 0xff, old & 0xff);
  const std::uint32_t device = inode.i_block[1];
  return makedev((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
}

Result<std::string> inline_data(ext2_filsys system, Number number, ext2_inode_large inode, std::uint64_t size) {
  std::size_t kept = 0;
  if (const errcode_t code = ext2fs_inline_data_size(system, number, &kept); code != 0)
    return failed(code, named(number));
  if (size > kept) return corrupt(number, "has more bytes than the inode holds");
  std::string bytes(kept, '\0');
  if (const errcode_t code =
          ext2fs_inline_data_get(system, number, reinterpret_cast<ext2_inode*>(&inode), bytes.data(), &kept);
      code != 0)
    return failed(code, named(number));
  bytes.resize(size);
  return bytes;
}

struct CloseXattrs {
  void operator()(ext2_xattr_handle* handle) const { ext2fs_xattrs_close(&handle); }
};

/// libext2fs leaves undefined who an entry is for that names nobody; the kernel says −1
/// (linux/posix_acl_xattr.h: 4 bytes, then 8 for each entry).
void name_nobody(std::string& acl) {
  constexpr std::size_t kHeader = 4, kEntry = 8;
  constexpr char kUser = 0x02, kGroup = 0x08;  // the tags of entries for somebody
  for (std::size_t at = kHeader; at + kEntry <= acl.size(); at += kEntry)
    if (acl[at] != kUser && acl[at] != kGroup) std::memset(acl.data() + at + 4, 0xff, 4);
}

/// Puts blocks together to pieces, and refuses what lies outside of the image or is out of order.
class Pieces {
 public:
  Pieces(std::uint64_t block_bytes, std::uint64_t blocks, std::uint64_t size)
      : block_bytes_{block_bytes}, blocks_{blocks}, size_{size} {}

  bool add(std::uint64_t logical, std::uint64_t physical, std::uint64_t count) {
    if (logical < next_ || logical + count > kMaxExtentEnd || count > blocks_ || physical > blocks_ - count)
      return false;
    next_ = logical + count;
    const std::uint64_t offset = logical * block_bytes_, where = physical * block_bytes_;
    if (offset >= size_) return true;  // allocated behind the end
    const std::uint64_t bytes = std::min(count * block_bytes_, size_ - offset);
    if (!pieces_.empty()) {
      Ext4Image::Piece& last = pieces_.back();
      if (last.offset + last.size == offset && last.where + last.size == where) {
        last.size += bytes;
        return true;
      }
    }
    pieces_.push_back({offset, bytes, where});
    return true;
  }
  /// A step of the way through a file's map, which is no longer than the image has blocks, three times at most.
  bool step() { return ++steps_ <= 3 * blocks_ + 16; }
  std::vector<Ext4Image::Piece> take() { return std::move(pieces_); }

 private:
  std::uint64_t block_bytes_, blocks_, size_, next_ = 0, steps_ = 0;
  std::vector<Ext4Image::Piece> pieces_;
};

Result<void> add_extents(ext2_filsys system, Number number, ext2_inode_large inode, Pieces& pieces) {
  ext2_extent_handle_t found = nullptr;
  if (const errcode_t code = ext2fs_extent_open2(system, number, reinterpret_cast<ext2_inode*>(&inode), &found);
      code != 0)
    return failed(code, named(number));
  const std::unique_ptr<ext2_extent_handle, decltype(&ext2fs_extent_free)> handle{found, &ext2fs_extent_free};
  for (int move = EXT2_EXTENT_ROOT;; move = EXT2_EXTENT_NEXT) {
    ext2fs_extent extent{};
    const errcode_t code = ext2fs_extent_get(handle.get(), move, &extent);
    if (code == EXT2_ET_EXTENT_NO_NEXT || code == EXT2_ET_NO_CURRENT_NODE) return {};
    if (code != 0) return failed(code, named(number));
    if (!pieces.step()) return corrupt(number, "its extents lead in a circle");
    if ((extent.e_flags & EXT2_EXTENT_FLAGS_LEAF) == 0 || (extent.e_flags & EXT2_EXTENT_FLAGS_SECOND_VISIT) != 0)
      continue;
    if ((extent.e_flags & EXT2_EXTENT_FLAGS_UNINIT) != 0) continue;  // reads as zeros
    if (!pieces.add(extent.e_lblk, extent.e_pblk, extent.e_len)) return corrupt(number, "an extent of it cannot be");
  }
}

Result<void> add_blocks(ext2_filsys system, Number number, Pieces& pieces) {
  struct Walk {
    Pieces& pieces;
    bool good = true;
  } walk{pieces};
  const auto take = [](ext2_filsys, blk64_t* block, e2_blkcnt_t logical, blk64_t, int, void* given) {
    auto& to = *static_cast<Walk*>(given);
    to.good = to.pieces.step() && logical >= 0 && to.pieces.add(static_cast<std::uint64_t>(logical), *block, 1);
    return to.good ? 0 : BLOCK_ABORT;
  };
  const errcode_t code =
      ext2fs_block_iterate3(system, number, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, nullptr, take, &walk);
  if (!walk.good) return corrupt(number, "a block of it cannot be");
  if (code != 0) return failed(code, named(number));
  return {};
}

/// Where the bytes of an inode lie that does not hold them itself.
Result<std::vector<Ext4Image::Piece>> pieces_of(ext2_filsys system, Number number, const ext2_inode_large& inode) {
  Pieces pieces{system->blocksize, ext2fs_blocks_count(system->super), EXT2_I_SIZE(&inode)};
  const bool extents = (inode.i_flags & EXT4_EXTENTS_FL) != 0;
  const auto added = extents ? add_extents(system, number, inode, pieces) : add_blocks(system, number, pieces);
  if (!added) return fail(added.error());
  return pieces.take();
}

}  // namespace

void Ext4Image::Close::operator()(struct_ext2_filsys* system) const {
  ext2fs_free(system);
}

Ext4Image::Ext4Image(int file, struct_ext2_filsys* system)
    : file_{file}, system_{system}, block_bytes_{system->blocksize}, blocks_{ext2fs_blocks_count(system->super)} {}

bool Ext4Image::is_one(int file) {
  const auto found = has_super(file);
  return found && *found;
}

Result<Ext4Image> Ext4Image::open(int file) {
  const auto found = has_super(file);
  if (!found) return fail(found.error());
  if (!*found) return fail(Errc::invalid_argument, "no ext2, ext3 or ext4 file system");
  initialize_ext2_error_table();
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  ext2_filsys system = nullptr;
  if (const errcode_t code = ext2fs_open2(path.c_str(), nullptr, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &system);
      code != 0) {
    if (code == EXT2_ET_UNSUPP_FEATURE || code == EXT2_ET_RO_UNSUPP_FEATURE)
      return fail(Errc::not_supported, error_message(code));
    return failed(code, "the file system");
  }
  Ext4Image image{file, system};
  if (ext2fs_has_feature_journal_needs_recovery(system->super) != 0) {
    return fail(Errc::not_supported,
                "it was not unmounted, and its newest changes are in its journal only: mount it once, or run "
                "'e2fsck -p' on a copy");
  }
  const off_t size = ::lseek(file, 0, SEEK_END);
  if (size < 0) return fail_errno("asking for its size");
  if (static_cast<std::uint64_t>(size) / image.block_bytes_ < image.blocks_) {
    return fail(Errc::corrupt, "the file system has " + std::to_string(image.blocks_) + " blocks of " +
                                   std::to_string(image.block_bytes_) + " bytes, and the image ends after " +
                                   std::to_string(size) + " bytes");
  }
  return image;
}

Result<Ext4Image::Node> Ext4Image::node(Number number) const {
  const auto inode = read_inode(system_.get(), number);
  if (!inode) return fail(inode.error());
  Node node;
  node.mode = inode->i_mode;
  node.uid = inode_uid(*inode);
  node.gid = inode_gid(*inode);
  node.links = inode->i_links_count;
  node.mtime = mtime_of(system_.get(), *inode);
  if (node.links == 0) return corrupt(number, "has a name, and no links");
  if (S_ISREG(node.mode) || S_ISLNK(node.mode)) {
    node.size = EXT2_I_SIZE(inode);
    if (node.size > kMaxExtentEnd * block_bytes_) return corrupt(number, "its size cannot be");
  } else if (S_ISCHR(node.mode) || S_ISBLK(node.mode)) {
    node.rdev = device_of(*inode);
  } else if (!S_ISDIR(node.mode) && !S_ISFIFO(node.mode) && !S_ISSOCK(node.mode)) {
    return corrupt(number, "is of no known type");
  }
  return node;
}

Result<std::vector<Ext4Image::Entry>> Ext4Image::entries(Number folder) const {
  struct Walk {
    std::vector<Entry> found;
    std::size_t seen = 0;
  } walk;
  const auto take = [](ext2_ino_t, int, ext2_dir_entry* entry, int, int, char*, void* given) {
    auto& to = *static_cast<Walk*>(given);
    if (++to.seen > kMaxEntries) return DIRENT_ABORT;
    if (entry->inode == 0) return 0;
    std::string name{entry->name, static_cast<std::size_t>(ext2fs_dirent_name_len(entry))};
    if (name != "." && name != "..") to.found.push_back({std::move(name), entry->inode});
    return 0;
  };
  // Empty places, too, so that a folder of nothing else comes to an end.
  if (const errcode_t code =
          ext2fs_dir_iterate2(system_.get(), folder, DIRENT_FLAG_INCLUDE_EMPTY, nullptr, take, &walk);
      code != 0)
    return failed(code, named(folder));
  if (walk.seen > kMaxEntries) return corrupt(folder, "a folder with more names than can be");
  std::ranges::sort(walk.found, {}, &Entry::name);
  for (std::size_t i = 0; i < walk.found.size(); ++i) {
    const std::string& name = walk.found[i].name;
    if (name.empty() || name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
      return corrupt(folder, "a folder with a name that cannot be");
    if (i > 0 && walk.found[i - 1].name == name) return corrupt(folder, "a folder with one name twice");
  }
  return std::move(walk.found);
}

Result<std::string> Ext4Image::link_target(Number link) const {
  auto inode = read_inode(system_.get(), link);
  if (!inode) return fail(inode.error());
  const std::uint64_t size = EXT2_I_SIZE(inode);
  if (size == 0 || size > kMaxTarget) return corrupt(link, "a symbolic link whose length cannot be");
  if ((inode->i_flags & EXT4_ENCRYPT_FL) != 0) return fail(Errc::not_supported, named(link) + " is encrypted");
  std::string target(size, '\0');
  if ((inode->i_flags & EXT4_INLINE_DATA_FL) != 0) {
    auto bytes = inline_data(system_.get(), link, *inode, size);
    if (!bytes) return fail(bytes.error());
    target = std::move(*bytes);
  } else if (ext2fs_is_fast_symlink(reinterpret_cast<ext2_inode*>(&*inode)) != 0) {
    std::memcpy(target.data(), inode->i_block, size);
  } else {
    const auto pieces = pieces_of(system_.get(), link, *inode);
    if (!pieces) return fail(pieces.error());
    for (const Piece& piece : *pieces) {
      if (const auto got =
              read(piece.where, std::as_writable_bytes(std::span{target}.subspan(piece.offset, piece.size)));
          !got)
        return fail(got.error());
    }
  }
  if (target.find('\0') != std::string::npos) return corrupt(link, "a symbolic link whose target cannot be");
  return target;
}

Result<std::vector<std::pair<std::string, std::string>>> Ext4Image::xattrs(Number number) const {
  ext2_xattr_handle* opened = nullptr;
  errcode_t code = ext2fs_xattrs_open(system_.get(), number, &opened);
  if (code != 0) return failed(code, named(number));
  const std::unique_ptr<ext2_xattr_handle, CloseXattrs> handle{opened};
  if (code = ext2fs_xattrs_read(handle.get()); code != 0) return failed(code, named(number));
  std::vector<std::pair<std::string, std::string>> found;
  const auto take = [](char* name, char*, std::size_t, void* given) {
    static_cast<decltype(found)*>(given)->emplace_back(name, "");
    return 0;
  };
  if (code = ext2fs_xattrs_iterate(handle.get(), take, &found); code != 0) return failed(code, named(number));
  std::erase_if(found, [](const auto& one) { return one.first == "system.data"; });  // the file's own bytes
  for (auto& [name, value] : found) {
    void* bytes = nullptr;
    std::size_t size = 0;
    // Unlike the walk, this gives ACLs as getxattr(2) does.
    if (code = ext2fs_xattr_get(handle.get(), name.c_str(), &bytes, &size); code != 0)
      return failed(code, named(number));
    value.assign(static_cast<const char*>(bytes), size);
    ext2fs_free_mem(&bytes);
    if (name == kAclAccess || name == kAclDefault) name_nobody(value);
  }
  std::ranges::sort(found);
  return found;
}

Result<Ext4Image::Data> Ext4Image::data(Number file) {
  const auto inode = read_inode(system_.get(), file);
  if (!inode) return fail(inode.error());
  if ((inode->i_flags & EXT4_ENCRYPT_FL) != 0) return fail(Errc::not_supported, named(file) + " is encrypted");
  const std::uint64_t size = EXT2_I_SIZE(inode);
  Data data;
  if ((inode->i_flags & EXT4_INLINE_DATA_FL) != 0) {
    auto bytes = inline_data(system_.get(), file, *inode, size);
    if (!bytes) return fail(bytes.error());
    data.in_inode = std::move(*bytes);
    return data;
  }
  auto pieces = pieces_of(system_.get(), file, *inode);
  if (!pieces) return fail(pieces.error());
  data.pieces = std::move(*pieces);
  for (const Piece& piece : data.pieces) claimed_ += piece.size;
  if (claimed_ > blocks_ * block_bytes_ && ext2fs_has_feature_shared_blocks(system_->super) == 0)
    return corrupt(file, "this and the files before have more blocks than there are");
  return data;
}

Result<void> Ext4Image::read(std::uint64_t where, MutableByteSpan out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(file_, out.data(), out.size(), static_cast<off_t>(where));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("reading the image");
    if (got == 0) return fail(Errc::corrupt, "the image ends before its file system does");
    where += static_cast<std::uint64_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

}  // namespace stellarium::fs
