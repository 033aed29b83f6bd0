#include "fs/fuse/volume_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "fs/fuse/answers.h"
#include "fs/fuse/attributes.h"

namespace stellarium::fs::fuse {
namespace {

NodeId node_of(std::uint64_t number) {
  return NodeId::of(0, VolumeFiles::kVolumeBit | number);
}

}  // namespace

bool VolumeFiles::is_volume(NodeId node) {
  return node.tree() == 0 && node.incarnation() == 0 && node.ino() >> 38 == 1;
}

Result<VolumeFiles::Opened> VolumeFiles::find(NodeId node) {
  {
    const MutexLock lock{mutex_};
    if (const auto known = open_.find(node.value()); known != open_.end()) return known->second;
  }
  auto volume = volumes_.open(node.ino() & (kVolumeBit - 1));
  if (!volume && volume.error().code == Errc::not_found) return stale();
  if (!volume) return fail(volume.error());
  // Also of a file that an earlier server opened: from now on it counts as in use again.
  if (open_files_->is_open(node)) {
    const MutexLock lock{mutex_};
    open_.emplace(node.value(), *volume);
  }
  return volume;
}

Result<Inode> VolumeFiles::inode_of(const Volume& volume) const {
  const auto status = volume.status();
  if (!status) return fail(status.error());
  Inode inode;
  inode.mode = S_IFREG | 0600;
  inode.uid = ::geteuid();
  inode.gid = ::getegid();
  inode.size = status->size;
  inode.allocated = status->allocated;
  inode.atime = inode.mtime = inode.ctime = status->changed;
  inode.btime = status->created;
  return inode;
}

Result<abi::EntryOut> VolumeFiles::entry(const std::string& name) {
  const auto volume = volumes_.open(name);
  if (!volume) return fail(volume.error());
  const auto inode = inode_of(**volume);
  if (!inode) return fail(inode.error());
  abi::EntryOut out{};
  out.nodeid = node_of((*volume)->number()).value();
  out.attr = to_attr(*inode, out.nodeid);
  return out;
}

void VolumeFiles::getattr(const Request& request, Reply reply) {
  const auto volume = find(request.node());
  if (!volume) return refuse(reply, volume.error());
  const auto inode = inode_of(**volume);
  if (!inode) return refuse(reply, inode.error());
  abi::AttrOut out{};
  out.attr = to_attr(*inode, request.node().value());
  reply.value(out);
}

void VolumeFiles::statx(const Request& request, Reply reply) {
  const auto volume = find(request.node());
  if (!volume) return refuse(reply, volume.error());
  const auto inode = inode_of(**volume);
  if (!inode) return refuse(reply, inode.error());
  abi::StatxOut out{};
  out.stat = to_statx(*inode, request.node().value());
  reply.value(out);
}

void VolumeFiles::setattr(const Request& request, const abi::SetattrIn& in, Reply reply) {
  using namespace abi::setattr;
  const auto volume = find(request.node());
  if (!volume) return refuse(reply, volume.error());
  if ((in.valid & (kMode | kUid | kGid | kAtime | kMtime)) != 0) return reply.error(EPERM), void();
  if ((in.valid & kSize) != 0 && in.size != (*volume)->record().size) return reply.error(EPERM), void();
  getattr(request, std::move(reply));
}

void VolumeFiles::open(const Request& request, const abi::OpenIn& in, Reply reply) {
  const NodeId node = request.node();
  auto volume = find(node);
  if (!volume) return refuse(reply, volume.error());
  if ((in.flags & O_TRUNC) != 0) return reply.error(EPERM), void();
  {
    const MutexLock lock{mutex_};
    open_.emplace(node.value(), *volume);
  }
  const bool for_writing = (in.flags & O_ACCMODE) != O_RDONLY;
  auto handle =
      open_files_->open_now(request.id(), {.node = node, .for_writing = for_writing, .staged = nullptr, .still = {}});
  if (!handle) {
    if (!open_files_->is_open(node)) {
      const MutexLock lock{mutex_};
      open_.erase(node.value());
    }
    return refuse(reply, handle.error());
  }
  // Another mount may have written it meanwhile.
  handle->open_flags &= ~abi::open_flag::kKeepCache;
  open_files_->opened(*handle, node, reply.value(*handle) == 0);
}

void VolumeFiles::read(const Request& request, const abi::ReadIn& in, Reply reply) {
  const auto volume = find(request.node());
  if (!volume) return refuse(reply, volume.error());
  const MutableByteSpan out = reply.scratch(in.size);
  const auto read = (*volume)->read(in.offset, out);
  if (!read) return refuse(reply, read.error());
  reply.bytes(out.first(*read));
}

void VolumeFiles::write(const Request& request, const abi::WriteIn& in, ByteParts data, Reply reply) {
  const auto volume = find(request.node());
  if (!volume) return refuse(reply, volume.error());
  if (in.offset > std::uint64_t{INT64_MAX} - in.size) return reply.error(EFBIG), void();
  std::vector<std::byte> gathered(data.size() == 1 ? 0 : in.size);
  if (data.size() != 1) gather(data, gathered);
  const auto written = (*volume)->write(in.offset, data.size() == 1 ? data.front() : ByteSpan{gathered});
  if (!written) return refuse(reply, written.error());
  // The kernel sends no FSYNC after a write to a file that was opened so.
  if ((in.flags & O_DSYNC) != 0) {
    if (auto synced = (*volume)->sync(); !synced) return refuse(reply, synced.error());
  }
  reply.value(abi::WriteOut{static_cast<std::uint32_t>(*written), 0});
}

void VolumeFiles::lseek(const Request& request, const abi::LseekIn& in, Reply reply) {
  const auto volume = find(request.node());
  if (!volume) return refuse(reply, volume.error());
  if (in.whence != SEEK_DATA && in.whence != SEEK_HOLE) return reply.error(EINVAL), void();
  const std::uint64_t size = (*volume)->record().size;
  if (in.offset >= size) return reply.error(ENXIO), void();
  const bool data = in.whence == SEEK_DATA;
  const auto at = data ? (*volume)->next_data(in.offset) : (*volume)->next_hole(in.offset);
  if (!at) return refuse(reply, at.error());
  if (data && *at >= size) return reply.error(ENXIO), void();
  reply.value(abi::LseekOut{*at});
}

void VolumeFiles::fallocate(const Request& request, const abi::FallocateIn& in, Reply reply) {
  const auto volume = find(request.node());
  if (!volume) return refuse(reply, volume.error());
  if (in.length == 0) return reply.error(EINVAL), void();
  if (in.offset > INT64_MAX || in.length > INT64_MAX - in.offset) return reply.error(EFBIG), void();
  constexpr std::uint32_t kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const bool zeroes = in.mode == kPunch || (in.mode & ~std::uint32_t{FALLOC_FL_KEEP_SIZE}) == FALLOC_FL_ZERO_RANGE;
  // Room is not reserved: blocks are shared and compressed, so nobody could promise it.
  if (!zeroes) return reply.error(EOPNOTSUPP), void();
  const bool grows = (in.mode & FALLOC_FL_KEEP_SIZE) == 0 && in.offset + in.length > (*volume)->record().size;
  if (grows) return reply.error(ENOSPC), void();
  if (auto zeroed = (*volume)->zero(in.offset, in.length); !zeroed) return refuse(reply, zeroed.error());
  reply.done();
}

void VolumeFiles::copy_file_range(const Request& request, const abi::CopyFileRangeIn& in, bool wide, Reply reply) {
  // Where nothing can be shared, the kernel reads and writes.
  if (!is_volume(request.node()) || !is_volume(NodeId{in.node_out})) return reply.error(EOPNOTSUPP), void();
  const auto from = find(request.node()), to = find(NodeId{in.node_out});
  if (!from) return refuse(reply, from.error());
  if (!to) return refuse(reply, to.error());
  const auto copied = volumes_.copy(**from, in.offset_in, **to, in.offset_out, in.length);
  if (!copied) return refuse(reply, copied.error());
  if (*copied == 0) return reply.error(EOPNOTSUPP), void();
  if (wide) {
    reply.value(abi::CopyFileRangeOut{*copied});
  } else {
    reply.value(abi::WriteOut{static_cast<std::uint32_t>(*copied), 0});
  }
}

void VolumeFiles::fsync(const Request& request, Reply reply) {
  const auto volume = find(request.node());
  if (!volume) return refuse(reply, volume.error());
  if (auto synced = (*volume)->sync(); !synced) return refuse(reply, synced.error());
  reply.done();
}

void VolumeFiles::syncfs(Reply reply) {
  std::vector<Opened> all;
  {
    const MutexLock lock{mutex_};
    for (const auto& [node, volume] : open_) all.push_back(volume);
  }
  for (const Opened& volume : all) {
    if (auto synced = volume->sync(); !synced) return refuse(reply, synced.error());
  }
  reply.done();
}

void VolumeFiles::release(const Request& request, const abi::ReleaseIn& in, Reply reply) {
  const bool last = open_files_->release(in.fh, request.node());
  Opened ended;  // closed without the lock
  if (last) {
    const MutexLock lock{mutex_};
    if (const auto known = open_.find(request.node().value());
        known != open_.end() && !open_files_->is_open(request.node())) {
      ended = std::move(known->second);
      open_.erase(known);
    }
  }
  ended.reset();
  reply.done();
}

}  // namespace stellarium::fs::fuse
