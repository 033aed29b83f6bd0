#pragma once
#include <cstddef>
#include <cstdint>

// The FUSE wire protocol, version 7.45 (Linux 6.18), as far as this project speaks it. The system's <linux/fuse.h> may
// be older than the running kernel (Debian 12: 7.38 against 6.18's 7.45), and virtio-fs needs the same structures
// without a kernel behind them, so they are declared here. Integers are in the byte order of the host.
//
// Layouts are fixed for ever; new protocol versions only append fields or reuse padding. Sizes are asserted below.
namespace stellarium::fs::fuse::abi {

inline constexpr std::uint32_t kMajor = 7;
inline constexpr std::uint32_t kMinor = 45;
inline constexpr std::uint32_t kMinMinor = 31;  ///< Linux 5.4; older kernels send shorter structures
inline constexpr std::uint64_t kRootNode = 1;

enum class Opcode : std::uint32_t {
  lookup = 1,
  forget = 2,
  getattr = 3,
  setattr = 4,
  readlink = 5,
  symlink = 6,
  mknod = 8,
  mkdir = 9,
  unlink = 10,
  rmdir = 11,
  rename = 12,
  link = 13,
  open = 14,
  read = 15,
  write = 16,
  statfs = 17,
  release = 18,
  fsync = 20,
  setxattr = 21,
  getxattr = 22,
  listxattr = 23,
  removexattr = 24,
  flush = 25,
  init = 26,
  opendir = 27,
  readdir = 28,
  releasedir = 29,
  fsyncdir = 30,
  getlk = 31,
  setlk = 32,
  setlkw = 33,
  access = 34,
  create = 35,
  interrupt = 36,
  bmap = 37,
  destroy = 38,
  ioctl = 39,
  poll = 40,
  notify_reply = 41,
  batch_forget = 42,
  fallocate = 43,
  readdirplus = 44,
  rename2 = 45,
  lseek = 46,
  copy_file_range = 47,
  setupmapping = 48,
  removemapping = 49,
  syncfs = 50,
  tmpfile = 51,
  statx = 52,
  copy_file_range_64 = 53,
};

/// Before every request.
struct InHeader {
  std::uint32_t len;  ///< of the whole request, this header included
  std::uint32_t opcode;
  std::uint64_t unique;  ///< names the request; bit 63: sent again after a resend notification
  std::uint64_t nodeid;
  std::uint32_t uid, gid, pid;  ///< uid and gid are 2^32−1 in most requests of an id-mapped mount: never decide by them
  std::uint16_t extension_units;  ///< extensions at the end, in units of 8 bytes
  std::uint16_t padding;
};
/// Before every reply and notification.
struct OutHeader {
  std::uint32_t len;
  std::int32_t error;    ///< 0 or a negative errno; in notifications (unique 0) their code
  std::uint64_t unique;  ///< as in the request, bit 63 included
};
inline constexpr std::uint64_t kResentBit = 1ull << 63;
inline constexpr std::int32_t kNotifyInvalInode = 2;
inline constexpr std::int32_t kNotifyInvalEntry = 3;
inline constexpr std::int32_t kNotifyStore = 4;
inline constexpr std::int32_t kNotifyResend = 7;

// ---- INIT ----
/// Bits of `flags` (low 32) and `flags2` (high 32) of INIT in both directions.
namespace feature {
inline constexpr std::uint64_t kAsyncRead = 1ull << 0;
inline constexpr std::uint64_t kAtomicOTrunc = 1ull << 3;   ///< OPEN brings O_TRUNC; else a SETATTR of the size does
inline constexpr std::uint64_t kExportSupport = 1ull << 4;  ///< LOOKUP of "." and ".." is answered
inline constexpr std::uint64_t kBigWrites = 1ull << 5;      ///< buffered WRITEs may be longer than a page
inline constexpr std::uint64_t kDontMask = 1ull << 6;       ///< modes come without the umask applied
inline constexpr std::uint64_t kAutoInvalData = 1ull << 12;
inline constexpr std::uint64_t kDoReaddirplus = 1ull << 13;
inline constexpr std::uint64_t kAsyncDio = 1ull << 15;
inline constexpr std::uint64_t kWritebackCache = 1ull << 16;  ///< excludes passthrough
inline constexpr std::uint64_t kNoOpenSupport = 1ull << 17;   ///< OPEN may be answered ENOSYS: no more of them come
inline constexpr std::uint64_t kParallelDirops = 1ull << 18;
inline constexpr std::uint64_t kPosixAcl = 1ull << 20;  ///< implies default_permissions
inline constexpr std::uint64_t kMaxPages = 1ull << 22;
inline constexpr std::uint64_t kCacheSymlinks = 1ull << 23;
inline constexpr std::uint64_t kNoOpendirSupport = 1ull << 24;
inline constexpr std::uint64_t kMapAlignment = 1ull << 26;      ///< offered by a kernel that has a DAX window
inline constexpr std::uint64_t kHandleKillprivV2 = 1ull << 28;  ///< who writes, truncates or chowns: we drop suid, sgid
inline constexpr std::uint64_t kSetxattrExt = 1ull << 29;       ///< all of SetxattrIn is sent
inline constexpr std::uint64_t kInitExt = 1ull << 30;           ///< flags2 is valid
inline constexpr std::uint64_t kHasInodeDax = 1ull << 33;       ///< attr_flag::kDax is obeyed
inline constexpr std::uint64_t kPassthrough = 1ull << 37;
inline constexpr std::uint64_t kNoExportSupport = 1ull << 38;
inline constexpr std::uint64_t kHasResend = 1ull << 39;
inline constexpr std::uint64_t kAllowIdmap = 1ull << 40;
}  // namespace feature

struct InitIn {
  std::uint32_t major, minor, max_readahead, flags;  ///< all that kernels before 7.36 send
  std::uint32_t flags2;
  std::uint32_t unused[11];
};
inline constexpr std::size_t kInitInOldSize = 16;
struct InitOut {
  std::uint32_t major, minor, max_readahead, flags;
  std::uint16_t max_background, congestion_threshold;
  std::uint32_t max_write, time_granularity;
  std::uint16_t max_pages, map_alignment;
  std::uint32_t flags2, max_stack_depth;
  std::uint16_t request_timeout, unused[11];
};

// ---- attributes ----
namespace attr_flag {
inline constexpr std::uint32_t kDax = 1u << 1;  ///< read by way of the DAX window
}
struct Attr {
  std::uint64_t ino, size, blocks, atime, mtime, ctime;
  std::uint32_t atime_nsec, mtime_nsec, ctime_nsec, mode, nlink, uid, gid, rdev, blksize, flags;
};
struct GetattrIn {
  std::uint32_t flags, dummy;
  std::uint64_t fh;
};
struct AttrOut {
  std::uint64_t attr_valid;
  std::uint32_t attr_valid_nsec, dummy;
  Attr attr;
};
struct EntryOut {
  std::uint64_t nodeid;  ///< 0: no such name, and that may be remembered
  std::uint64_t generation, entry_valid, attr_valid;
  std::uint32_t entry_valid_nsec, attr_valid_nsec;
  Attr attr;
};
namespace setattr {  ///< SetattrIn::valid: which of its fields are meant
inline constexpr std::uint32_t kMode = 1u << 0;
inline constexpr std::uint32_t kUid = 1u << 1;
inline constexpr std::uint32_t kGid = 1u << 2;
inline constexpr std::uint32_t kSize = 1u << 3;
inline constexpr std::uint32_t kAtime = 1u << 4;
inline constexpr std::uint32_t kMtime = 1u << 5;
inline constexpr std::uint32_t kFh = 1u << 6;
inline constexpr std::uint32_t kAtimeNow = 1u << 7;  ///< comes with kAtime: the server's clock counts
inline constexpr std::uint32_t kMtimeNow = 1u << 8;
inline constexpr std::uint32_t kLockOwner = 1u << 9;
inline constexpr std::uint32_t kCtime = 1u << 10;
inline constexpr std::uint32_t kKillSuidgid = 1u << 11;  ///< with kHandleKillprivV2: the program lacks CAP_FSETID
}  // namespace setattr
struct SetattrIn {
  std::uint32_t valid, padding;
  std::uint64_t fh, size, lock_owner, atime, mtime, ctime;
  std::uint32_t atime_nsec, mtime_nsec, ctime_nsec, mode, unused4, uid, gid, unused5;
};
struct StatxTime {
  std::int64_t seconds;
  std::uint32_t nanoseconds;
  std::int32_t reserved;
};
struct Statx {
  std::uint32_t mask, blksize;
  std::uint64_t attributes;
  std::uint32_t nlink, uid, gid;
  std::uint16_t mode, spare0;
  std::uint64_t ino, size, blocks, attributes_mask;
  StatxTime atime, btime, ctime, mtime;
  std::uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  std::uint64_t spare1[14];
};
struct StatxIn {
  std::uint32_t getattr_flags, reserved;
  std::uint64_t fh;
  std::uint32_t flags, mask;
};
struct StatxOut {
  std::uint64_t attr_valid;
  std::uint32_t attr_valid_nsec, flags;
  std::uint64_t spare[2];
  Statx stat;
};

// ---- files and directories ----
struct OpenIn {
  std::uint32_t flags, open_flags;
};
inline constexpr std::uint32_t kOpenKillSuidgid = 1u << 0;  ///< in open_flags of OpenIn and CreateIn, with O_TRUNC
namespace open_flag {                                       ///< OpenOut::open_flags
inline constexpr std::uint32_t kDirectIo = 1u << 0;         ///< reads and writes bypass the page cache
inline constexpr std::uint32_t kKeepCache = 1u << 1;        ///< never together with kPassthrough: EIO
inline constexpr std::uint32_t kCacheDir = 1u << 3;
inline constexpr std::uint32_t kNoFlush = 1u << 5;  ///< close(2) sends no FLUSH
inline constexpr std::uint32_t kPassthrough = 1u << 7;
}  // namespace open_flag
struct OpenOut {
  std::uint64_t fh;
  std::uint32_t open_flags;
  std::int32_t backing_id;
};
struct ReadIn {  ///< READ, READDIR, READDIRPLUS
  std::uint64_t fh, offset;
  std::uint32_t size, read_flags;
  std::uint64_t lock_owner;
  std::uint32_t flags, padding;
};
struct ReleaseIn {
  std::uint64_t fh;
  std::uint32_t flags, release_flags;
  std::uint64_t lock_owner;
};
struct LseekIn {
  std::uint64_t fh, offset;
  std::uint32_t whence, padding;
};
struct LseekOut {
  std::uint64_t offset;
};
struct Dirent {  ///< followed by the name, padded to 8 bytes
  std::uint64_t ino, offset;
  std::uint32_t name_size, type;
};
struct DirentPlus {
  EntryOut entry;
  Dirent dirent;
};
struct GetxattrIn {  ///< GETXATTR (the name follows) and LISTXATTR; size 0 asks for the size
  std::uint32_t size, padding;
};
struct GetxattrOut {
  std::uint32_t size, padding;
};
inline constexpr std::uint32_t kSetxattrAclKillSgid = 1u << 0;
struct SetxattrIn {           ///< the name and `size` bytes of value follow
  std::uint32_t size, flags;  ///< all that is sent without kSetxattrExt
  std::uint32_t setxattr_flags, padding;
};
inline constexpr std::size_t kSetxattrInOldSize = 8;
struct StatfsOut {
  std::uint64_t blocks, free_blocks, available_blocks, files, free_files;
  std::uint32_t block_size, name_size, fragment_size, padding, spare[6];
};
struct ForgetIn {
  std::uint64_t lookups;
};
struct BatchForgetIn {  ///< `count` times ForgetOne follows
  std::uint32_t count, dummy;
};
struct ForgetOne {
  std::uint64_t nodeid, lookups;
};
struct InterruptIn {
  std::uint64_t unique;  ///< of the request whose program got a signal
};

// ---- changing directories: the names follow; SYMLINK (name, target), UNLINK and RMDIR are names alone ----
struct MknodIn {
  std::uint32_t mode, rdev, umask, padding;
};
struct MkdirIn {
  std::uint32_t mode, umask;
};
struct CreateIn {  ///< CREATE and TMPFILE (whose name is "/" and means nothing)
  std::uint32_t flags, mode, umask, open_flags;
};
struct CreateOut {
  EntryOut entry;
  OpenOut open;
};
struct RenameIn {  ///< the old name and the new one follow
  std::uint64_t new_parent;
};
struct Rename2In {
  std::uint64_t new_parent;
  std::uint32_t flags, padding;  ///< RENAME_… of renameat2(2)
};
struct LinkIn {  ///< the header's node is the directory
  std::uint64_t target;
};

// ---- changing contents ----
namespace write_flag {
inline constexpr std::uint32_t kCache = 1u << 0;        ///< from the page cache: fh is only a handle that may write
inline constexpr std::uint32_t kLockOwner = 1u << 1;    ///< lock_owner is valid
inline constexpr std::uint32_t kKillSuidgid = 1u << 2;  ///< with kHandleKillprivV2: the program lacks CAP_FSETID
}  // namespace write_flag
struct WriteIn {  ///< `size` bytes follow
  std::uint64_t fh, offset;
  std::uint32_t size, write_flags;
  std::uint64_t lock_owner;
  std::uint32_t flags, padding;
};
struct WriteOut {  ///< also of COPY_FILE_RANGE
  std::uint32_t size, padding;
};
struct FallocateIn {
  std::uint64_t fh, offset, length;
  std::uint32_t mode, padding;
};
struct CopyFileRangeIn {  ///< from the header's node to `node_out`
  std::uint64_t fh_in, offset_in, node_out, fh_out, offset_out, length, flags;
};
struct CopyFileRangeOut {  ///< of COPY_FILE_RANGE_64
  std::uint64_t copied;
};
struct FlushIn {
  std::uint64_t fh;
  std::uint32_t unused, padding;
  std::uint64_t lock_owner;
};
inline constexpr std::uint32_t kFsyncDatasync = 1u << 0;
struct FsyncIn {  ///< FSYNC and FSYNCDIR
  std::uint64_t fh;
  std::uint32_t fsync_flags, padding;
};
struct SyncfsIn {
  std::uint64_t padding;
};

// ---- notifications: these follow an OutHeader with unique 0 ----
struct InvalInode {
  std::uint64_t nodeid;
  std::int64_t offset, length;  ///< negative offset: attributes only; length 0 or less: to the end
};
struct InvalEntry {  ///< the name and a NUL follow, which `name_size` does not count
  std::uint64_t parent;
  std::uint32_t name_size, flags;
};

struct Store {  ///< the bytes follow, which begin at `offset` of the file
  std::uint64_t nodeid, offset;
  std::uint32_t size, padding;
};

// ---- the DAX window of a guest ----
struct SetupMappingIn {
  std::uint64_t fh;  ///< all ones: the node says which file
  std::uint64_t file_offset, length, flags, window_offset;
};
inline constexpr std::uint64_t kMapToWrite = 1ull << 0;
struct RemoveMappingIn {
  std::uint32_t count;
};
struct RemoveMappingOne {
  std::uint64_t window_offset, length;
};
inline constexpr std::uint32_t kMaxRemovedMappings = 256;  ///< a page of them

// ---- ioctls of /dev/fuse ----
struct BackingMap {
  std::int32_t fd;
  std::uint32_t flags;
  std::uint64_t padding;
};
inline constexpr unsigned long kIocBackingOpen = 0x4010e501;   ///< _IOW(229, 1, BackingMap); returns the id
inline constexpr unsigned long kIocBackingClose = 0x4004e502;  ///< _IOW(229, 2, uint32_t)

inline constexpr std::size_t kDirentAlign = 8;
inline constexpr std::size_t kMaxName = 255;
inline constexpr std::size_t kMaxTarget = 4095;  ///< of a symlink
inline constexpr std::size_t kMaxXattrName = 255;
inline constexpr std::size_t kMaxXattrValue = 64u << 10;

static_assert(sizeof(InHeader) == 40 && sizeof(OutHeader) == 16);
static_assert(sizeof(InitIn) == 64 && sizeof(InitOut) == 64 && offsetof(InitOut, max_stack_depth) == 36);
static_assert(sizeof(Attr) == 88 && sizeof(AttrOut) == 104 && sizeof(EntryOut) == 128 && sizeof(GetattrIn) == 16);
static_assert(sizeof(Statx) == 256 && sizeof(StatxIn) == 24 && sizeof(StatxOut) == 288);
static_assert(sizeof(OpenOut) == 16 && sizeof(ReadIn) == 40 && sizeof(ReleaseIn) == 24 && sizeof(LseekIn) == 24);
static_assert(sizeof(SetattrIn) == 88 && offsetof(SetattrIn, atime_nsec) == 56 && sizeof(SetxattrIn) == 16);
static_assert(sizeof(ForgetOne) == 16 && sizeof(MknodIn) == 16 && sizeof(MkdirIn) == 8 && sizeof(CreateIn) == 16);
static_assert(sizeof(CreateOut) == 144 && sizeof(RenameIn) == 8 && sizeof(Rename2In) == 16 && sizeof(LinkIn) == 8);
static_assert(sizeof(WriteIn) == 40 && sizeof(WriteOut) == 8 && sizeof(FallocateIn) == 32 && sizeof(FlushIn) == 24);
static_assert(sizeof(CopyFileRangeIn) == 56 && sizeof(CopyFileRangeOut) == 8 && sizeof(FsyncIn) == 16);
static_assert(sizeof(SyncfsIn) == 8 && sizeof(InvalInode) == 24 && sizeof(InvalEntry) == 16 && sizeof(Store) == 24);
static_assert(sizeof(Dirent) == 24 && sizeof(DirentPlus) == 152 && sizeof(StatfsOut) == 80 && sizeof(BackingMap) == 16);

}  // namespace stellarium::fs::fuse::abi
