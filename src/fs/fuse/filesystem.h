#pragma once
#include <cstdint>
#include <string_view>

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
};

}  // namespace stellarium::fs::fuse
