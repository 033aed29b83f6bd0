// What a writable view knows of an inode beside its bytes: attributes and extended attributes.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/log.h"
#include "fs/clock.h"
#include "fs/fuse/answers.h"
#include "fs/fuse/attributes.h"
#include "fs/fuse/caller.h"
#include "fs/fuse/writable_view.h"
#include "fs/posix_acl.h"

namespace stellarium::fs::fuse {
namespace {

constexpr std::string_view kCapabilities = "security.capability";

// What ext4 can keep. A staged file's own time is cut by its file system: all inodes are to have the same limits.
constexpr std::int64_t kOldest = -(std::int64_t{1} << 31), kNewest = 0x3'7fff'ffff;

Timespec time_of(std::uint64_t seconds, std::uint32_t nanoseconds) {
  const auto wanted = static_cast<std::int64_t>(seconds);
  const std::int64_t kept = std::clamp(wanted, kOldest, kNewest);
  return {kept, kOldest < kept && kept < kNewest ? std::min(nanoseconds, 999'999'999u) : 0};
}

/// What setxattr(2) of a name says; 0 if it can be kept. Linux has no other namespaces for files.
int refusal_of(std::string_view name) {
  if (name == kAclAccess || name == kAclDefault) return 0;
  for (const std::string_view prefix : {"user.", "trusted.", "security."})
    if (name.starts_with(prefix)) return name.size() > prefix.size() ? 0 : EINVAL;
  return EOPNOTSUPP;
}

/// The mode bits that go with a chown, truncate or write by somebody who may not keep them. Sgid of a file that its
/// group cannot execute goes only if they are no member of the group. Asks the system: not with a lock.
std::uint32_t lost_bits(const Inode& inode, const Request& request) {
  if (S_ISDIR(inode.mode)) return 0;
  if ((inode.mode & S_ISGID) != 0 && (inode.mode & S_IXGRP) == 0) {
    const Caller caller = caller_of(request, inode.gid);
    if (caller.in_group || caller.has_fsetid) return S_ISUID;
  }
  return S_ISUID | S_ISGID;
}

/// Whether suid and sgid go. The kernel says so for truncate(2) and for chown(2) of an id. What it leaves to us without
/// saying it are fallocate(2), copy_file_range(2) and a chown(2) of nothing: then it asks for a change of nothing.
bool kills_privileges(const abi::SetattrIn& in) {
  using namespace abi::setattr;
  constexpr std::uint32_t kChanges = kMode | kUid | kGid | kSize | kAtime | kMtime | kCtime;
  return (in.valid & kKillSuidgid) != 0 || (in.valid & kChanges) == 0;
}

/// The fields of the request that a record keeps, and the mode bits that it loses.
void apply(const abi::SetattrIn& in, std::uint32_t lost, const Timespec& when, Inode& inode) {
  using namespace abi::setattr;
  if ((in.valid & kMode) != 0) inode.mode = (inode.mode & S_IFMT) | (in.mode & 07777);
  if ((in.valid & kUid) != 0) inode.uid = in.uid;
  if ((in.valid & kGid) != 0) inode.gid = in.gid;
  inode.mode &= ~lost;
  if ((in.valid & kAtime) != 0) inode.atime = (in.valid & kAtimeNow) != 0 ? when : time_of(in.atime, in.atime_nsec);
  if ((in.valid & kMtime) != 0) inode.mtime = (in.valid & kMtimeNow) != 0 ? when : time_of(in.mtime, in.mtime_nsec);
  if ((in.valid & kSize) != 0 && (in.valid & kMtime) == 0) inode.mtime = when;
  inode.ctime = when;
}

}  // namespace

void WritableView::getattr(const Request& request, Reply reply) {
  const Result<Entry> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  abi::AttrOut out{};
  set_validity(out, *found);
  out.attr = attr_of(*found);
  reply.value(out);
}

void WritableView::statx(const Request& request, Reply reply) {
  const Result<Entry> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  abi::StatxOut out{};
  set_validity(out, *found);
  out.stat = to_statx(found->inode, found->ino);
  reply.value(out);
}

void WritableView::readlink(const Request& request, Reply reply) {
  const Result<Entry> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  if (!S_ISLNK(found->inode.mode)) {
    reply.error(EINVAL);
    return;
  }
  answer(reply, found->inode.inline_bytes);
}

void WritableView::setattr(const Request& request, const abi::SetattrIn& in, Reply reply) {
  using namespace abi::setattr;
  const Result<Ino> ino = locate(request.node());
  if (!ino) return refuse(reply, ino.error());
  const WriteGate::Pass pass{clone_.bodies->gate()};
  if ((in.valid & kSize) != 0) {
    if (in.size > INT64_MAX) return reply.error(EFBIG), void();
    if (auto may = may_write(request.node(), *ino); !may) return refuse(reply, may.error());
    if (auto cut = clone_.bodies->truncate(*ino, in.size); !cut) return refuse(reply, cut.error());
    // It may have been passed through meanwhile, but not any more now. The kernel then comes back with the new id.
    if (auto may = may_write(request.node(), *ino); !may) return refuse(reply, may.error());
  }
  if ((in.valid & kMtime) != 0) {
    if (auto own = clone_.bodies->unshare(*ino); !own) return refuse(reply, own.error());
  }
  std::uint32_t lost = 0;
  if (kills_privileges(in)) {
    const auto inode = clone_.records->inode(*ino);
    if (!inode) return refuse(reply, inode.error());
    if (*inode) lost = lost_bits(**inode, request);
  }
  const Timespec when = now();
  const CloneQuota::Weighing weighing{&clone_.bodies->quota(), {*ino}};
  auto changed = clone_.records->change(*ino,
                                        [&](Inode& inode) -> Result<void> {
                                          apply(in, lost, when, inode);
                                          return clone_.bodies->set_times(inode, (in.valid & (kMtime | kSize)) != 0);
                                        },
                                        {});
  if (!changed) return refuse_change(reply, changed.error());
  if (((in.valid & (kUid | kGid | kSize)) != 0 || kills_privileges(in)) && changed->inode.has_xattrs) {
    if (auto dropped = drop_capabilities(*ino); !dropped) return refuse_change(reply, dropped.error());
  }
  if (auto known = clone_.bodies->refresh(*ino, changed->inode); !known) return refuse(reply, known.error());
  abi::AttrOut out{};
  set_validity(out, *changed);
  out.attr = attr_of(*changed);
  reply.value(out);
}

Result<void> WritableView::drop_privileges(const Request& request, Ino ino) {
  const auto inode = clone_.records->inode(ino);
  if (!inode) return fail(inode.error());
  if (!*inode) return {};
  const CloneQuota::Weighing weighing{&clone_.bodies->quota(), {ino}};
  const std::uint32_t lost = lost_bits(**inode, request);
  if (((*inode)->mode & lost) != 0) {
    const auto changed = clone_.records->change(ino,
                                                [&](Inode& record) -> Result<void> {
                                                  record.mode &= ~lost;
                                                  return {};
                                                },
                                                {});
    if (!changed) return fail(changed.error());
  }
  return (*inode)->has_xattrs ? drop_capabilities(ino) : Result<void>{};
}

Result<void> WritableView::drop_capabilities(Ino ino) {
  const auto removed = clone_.records->remove_xattr(ino, kCapabilities, {});
  if (!removed && removed.error().sys_errno != ENODATA) return fail(removed.error());
  return {};
}

void WritableView::getxattr(const Request& request, std::string_view name, std::uint32_t size, Reply reply) {
  const Result<Ino> ino = locate(request.node());
  if (!ino) return refuse(reply, ino.error());
  const auto inode = clone_.records->inode(*ino);  // not what its staged file says: that is not asked for
  if (!inode) return refuse(reply, inode.error());
  if (!*inode) return refuse(reply, stale().value());
  if (const int refusal = refusal_of(name); refusal != 0) return reply.error(refusal), void();
  if (const auto told = introspect({*ino, **inode}, name)) {
    answer_xattr(reply, *told, size);
    return;
  }
  if (!(*inode)->has_xattrs) {
    reply.error(ENODATA);
    return;
  }
  const auto value = clone_.records->look([&](const LayerReader& reader) { return reader.xattr(*ino, name); });
  if (!value) return refuse(reply, value.error());
  if (!*value) {
    reply.error(ENODATA);
    return;
  }
  answer_xattr(reply, **value, size);
}

void WritableView::listxattr(const Request& request, std::uint32_t size, Reply reply) {
  const Result<Entry> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  std::string names;
  if (found->inode.has_xattrs) {
    const auto xattrs = clone_.records->look([&](const LayerReader& reader) { return reader.xattrs(found->ino); });
    if (!xattrs) return refuse(reply, xattrs.error());
    std::optional<bool> all;  // nobody is looked at for names that everybody may know
    for (const auto& [name, value] : *xattrs) {
      if (name.starts_with("trusted.")) {
        if (!all) all = caller_of(request, 0).is_administrator;
        if (!*all) continue;
      }
      names.append(name).push_back('\0');
    }
  }
  answer_xattr(reply, names, size);
}

void WritableView::setxattr(const Request& request, const abi::SetxattrIn& in, std::string_view name, ByteSpan value,
                            Reply reply) {
  if (answered_before(request, reply)) return;
  if (const int refusal = refusal_of(name); refusal != 0) return reply.error(refusal), void();
  const Result<Ino> ino = locate(request.node());
  if (!ino) return refuse(reply, ino.error());
  const CloneQuota::Weighing weighing{&clone_.bodies->quota(), {*ino}};
  if (auto room = clone_.bodies->quota().admit(name.size() + value.size()); !room) return refuse(reply, room.error());
  const AnsweredRequests::Slot slot{*answered_, request};
  const Note note = [&](cas::Database::Batch& batch, const Entry&) { slot.note(batch, {}); };
  if ((in.setxattr_flags & abi::kSetxattrAclKillSgid) != 0) {
    const auto cleared = clone_.records->change(*ino,
                                                [](Inode& inode) -> Result<void> {
                                                  inode.mode &= ~static_cast<std::uint32_t>(S_ISGID);
                                                  return {};
                                                },
                                                {});
    if (!cleared) return refuse(reply, cleared.error());
  }
  const auto set = clone_.records->set_xattr(*ino, name, as_text(value), static_cast<int>(in.flags), note);
  if (!set) return refuse(reply, set.error());
  reply.done();
}

void WritableView::removexattr(const Request& request, std::string_view name, Reply reply) {
  if (answered_before(request, reply)) return;
  if (const int refusal = refusal_of(name); refusal != 0) return reply.error(refusal), void();
  const Result<Ino> ino = locate(request.node());
  if (!ino) return refuse(reply, ino.error());
  const CloneQuota::Weighing weighing{&clone_.bodies->quota(), {*ino}};
  const AnsweredRequests::Slot slot{*answered_, request};
  const auto removed = clone_.records->remove_xattr(
      *ino, name, [&](cas::Database::Batch& batch, const Entry&) { slot.note(batch, {}); });
  const bool acl = name == kAclAccess || name == kAclDefault;  // there is always one, if only the permission bits
  if (!removed && !(acl && removed.error().sys_errno == ENODATA)) return refuse(reply, removed.error());
  reply.done();
}

void WritableView::statfs(const Request&, Reply reply) {
  struct statvfs host {};
  if (::statvfs(clone_.host.c_str(), &host) != 0) return reply.error(errno), void();
  const auto quota = clone_.bodies->quota().usage();
  if (!quota) return refuse(reply, quota.error());
  abi::StatfsOut out{};
  out.blocks = host.f_blocks;
  out.free_blocks = host.f_bfree;
  out.available_blocks = host.f_bavail;
  if (quota->limit != 0) {  // as ext4 shows a folder of a project: what the quota leaves, if the disk has it
    out.blocks = quota->limit / host.f_frsize;
    const std::uint64_t left = (quota->limit - std::min(quota->limit, quota->used)) / host.f_frsize;
    out.free_blocks = std::min<std::uint64_t>(out.free_blocks, left);
    out.available_blocks = std::min<std::uint64_t>(out.available_blocks, left);
  }
  out.files = host.f_files;
  out.free_files = host.f_ffree;
  out.block_size = static_cast<std::uint32_t>(host.f_bsize);
  out.fragment_size = static_cast<std::uint32_t>(host.f_frsize);
  out.name_size = abi::kMaxName;
  reply.value(out);
}

std::optional<std::string> WritableView::introspect(const Entry& entry, std::string_view name) const {
  constexpr std::string_view kPrefix = "user.stellarium.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view what = name.substr(kPrefix.size());
  if (what == "layer") return std::to_string(clone_.records->reader().layer());
  if (what == "ino") return std::to_string(entry.ino);
  if (what == "content" && entry.inode.body == Body::content) return entry.inode.content.hex();
  if (what == "body" && S_ISREG(entry.inode.mode)) {
    switch (entry.inode.body) {
      case Body::none:
        return "none";
      case Body::inline_:
        return "inline";
      case Body::content:
        return parts_.tier.find_hot({entry.inode.content, entry.inode.size}) ? "hot" : "stored";
      case Body::staged:
        return entry.inode.base ? "sparse" : "staged";
    }
  }
  return std::nullopt;
}

}  // namespace stellarium::fs::fuse
