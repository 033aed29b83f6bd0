#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "base/byte_parts.h"
#include "fs/fuse/abi.h"
#include "fs/fuse/reply.h"
#include "fs/fuse/request.h"

namespace stellarium::fs::fuse {

/// What a mount shows, as the operations of the FUSE protocol: the seam between the dispatcher and the views.
///
/// Every operation answers `reply` once, now or later. Arguments were checked for shape only: node ids, handles,
/// offsets and sizes may be any number.
/// Threads: all operations may be called concurrently.
/// Names:   1 to 255 bytes without '/' and NUL; "." and ".." reach `lookup` only.
/// Texts and data are borrowed from the request: whoever answers later keeps copies.
class Filesystem {
 public:
  virtual ~Filesystem() = default;

  /// Features to ask the kernel for beyond those that every view wants (abi::feature).
  virtual std::uint64_t features() const = 0;
  /// Longest WRITE that is taken, at most kMaxWrite. A resumed conversation keeps what INIT agreed on, so a later
  /// version may raise it, but never lower it.
  virtual std::uint32_t max_write() const { return 64u << 10; }
  /// A conversation begins; `features` are those that both sides have. `resumed`: an earlier server answered INIT, and
  /// its handles are still open; otherwise there are none.
  virtual void started(std::uint64_t features, bool resumed) = 0;

  virtual void lookup(const Request& request, std::string_view name, Reply reply) = 0;
  virtual void getattr(const Request& request, Reply reply) = 0;
  virtual void statx(const Request& request, Reply reply) = 0;
  virtual void readlink(const Request& request, Reply reply) = 0;

  virtual void open(const Request& request, const abi::OpenIn& in, Reply reply) = 0;
  virtual void read(const Request& request, const abi::ReadIn& in, Reply reply) = 0;
  virtual void lseek(const Request& request, const abi::LseekIn& in, Reply reply) = 0;
  virtual void release(const Request& request, const abi::ReleaseIn& in, Reply reply) = 0;

  virtual void opendir(const Request& request, Reply reply) = 0;
  virtual void readdir(const Request& request, const abi::ReadIn& in, bool plus, Reply reply) = 0;

  /// `size` 0 asks for the size of the answer.
  virtual void getxattr(const Request& request, std::string_view name, std::uint32_t size, Reply reply) = 0;
  virtual void listxattr(const Request& request, std::uint32_t size, Reply reply) = 0;
  virtual void statfs(const Request& request, Reply reply) = 0;

  /// The kernel has dropped the node from its memory; a LOOKUP that is under way may bring it back.
  virtual void forget(NodeId node);

  // ---- what writes: EROFS unless overridden. `request` names the directory of a name. ----

  virtual void setattr(const Request& request, const abi::SetattrIn& in, Reply reply);
  virtual void symlink(const Request& request, std::string_view name, std::string_view target, Reply reply);
  virtual void mknod(const Request& request, const abi::MknodIn& in, std::string_view name, Reply reply);
  virtual void mkdir(const Request& request, const abi::MkdirIn& in, std::string_view name, Reply reply);
  virtual void unlink(const Request& request, std::string_view name, Reply reply);
  virtual void rmdir(const Request& request, std::string_view name, Reply reply);
  /// `flags` as in renameat2(2), unchecked.
  virtual void rename(const Request& request, NodeId new_parent, std::uint32_t flags, std::string_view old_name,
                      std::string_view new_name, Reply reply);
  virtual void link(const Request& request, NodeId target, std::string_view new_name, Reply reply);

  /// Both answer abi::CreateOut.
  virtual void create(const Request& request, const abi::CreateIn& in, std::string_view name, Reply reply);
  virtual void tmpfile(const Request& request, const abi::CreateIn& in, Reply reply);
  /// `in.size` is that of `data`, and at most max_write(). A guest may change the bytes meanwhile.
  virtual void write(const Request& request, const abi::WriteIn& in, ByteParts data, Reply reply);
  virtual void fallocate(const Request& request, const abi::FallocateIn& in, Reply reply);
  /// `wide` is answered by abi::CopyFileRangeOut, else by abi::WriteOut, for which `in.length` is small enough.
  virtual void copy_file_range(const Request& request, const abi::CopyFileRangeIn& in, bool wide, Reply reply);

  /// `in.size` is that of `value`, at most 64 KiB; `in.setxattr_flags` is 0 without kSetxattrExt.
  virtual void setxattr(const Request& request, const abi::SetxattrIn& in, std::string_view name, ByteSpan value,
                        Reply reply);
  virtual void removexattr(const Request& request, std::string_view name, Reply reply);

  // ---- what has nothing to do where nothing is written: ENOSYS unless overridden, and the kernel asks no more ----

  virtual void flush(const Request& request, const abi::FlushIn& in, Reply reply);
  virtual void fsync(const Request& request, const abi::FsyncIn& in, Reply reply);
  virtual void fsyncdir(const Request& request, const abi::FsyncIn& in, Reply reply);
  virtual void syncfs(const Request& request, Reply reply);

  // ---- the DAX window of a guest: ENOSYS unless overridden ----

  virtual void setup_mapping(const Request& request, const abi::SetupMappingIn& in, Reply reply);
  virtual void remove_mappings(const Request& request, std::span<const abi::RemoveMappingOne> which, Reply reply);
};

}  // namespace stellarium::fs::fuse
