#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>

#include "fs/posix_acl.h"
#include "fs/records.h"
#include "fs/writable_tree.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kMaxXattrs = 1u << 20;  // bytes of names and values of one inode
constexpr std::uint32_t kPermissions = 0777;

bool only_bytes_moved(const Inode& before, Inode after) {
  after.body = before.body;
  after.inline_bytes = before.inline_bytes;
  after.content = before.content;
  after.staged = before.staged;
  after.base = before.base;
  after.allocated = before.allocated;
  after.program = before.program;
  return after == before;
}

// The access ACL after a chmod.
Result<void> follow_mode(const LayerReader& reader, TreeChange::Node& node) {
  const Result<std::optional<std::string>> acl = reader.xattr(node.ino, kAclAccess);
  if (!acl) return fail(acl.error());
  if (!*acl) return {};
  Result<std::string> followed = acl_with_permissions(**acl, node.inode.mode);
  if (!followed) return fail(followed.error());
  node.xattrs.emplace(kAclAccess, std::move(*followed));
  return {};
}

}  // namespace

Result<WritableTree::Entry> WritableTree::change(Ino ino, const std::function<Result<void>(Inode&)>& how,
                                                 const Note& note) {
  const MutexLock lock{mutex_};
  TreeChange change = begin();
  const Result<TreeChange::Node*> node = change.node(ino);
  if (!node) return fail(node.error());
  Inode& inode = (*node)->inode;
  const Inode before = inode;
  if (Result<void> done = how(inode); !done) return fail(done.error());
  if ((inode.mode & S_IFMT) != (before.mode & S_IFMT) || inode.nlink != before.nlink || inode.parent != before.parent ||
      inode.has_xattrs != before.has_xattrs)
    return refuse(EINVAL, "a change of what an inode is");
  if (S_ISREG(inode.mode) && (inode.mode & 0111) != 0) inode.program = true;
  if (inode.ctime == before.ctime && (inode == before || !only_bytes_moved(before, inode))) inode.ctime = change.now();
  if (inode.has_xattrs && ((inode.mode ^ before.mode) & kPermissions) != 0)
    if (Result<void> followed = follow_mode(reader(), **node); !followed) return fail(followed.error());
  (*node)->changed = true;
  return write(change, **node, note);
}

Result<WritableTree::Entry> WritableTree::set_xattr(Ino ino, std::string_view name, std::string_view value, int flags,
                                                    const Note& note) {
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) return refuse(EINVAL, "flags of setxattr");
  if (!valid_xattr_name(name)) return refuse(ERANGE, "the name of an extended attribute");
  if (value.size() > kMaxXattrValue) return refuse(E2BIG, name);
  const MutexLock lock{mutex_};
  TreeChange change = begin();
  const Result<TreeChange::Node*> node = change.node(ino);
  if (!node) return fail(node.error());
  const auto present = reader().xattrs(ino);
  if (!present) return fail(present.error());

  bool exists = false;
  std::size_t others = 0, other_bytes = 0;
  for (const auto& [other, kept] : *present) {
    if (other == name) {
      exists = true;
    } else {
      ++others;
      other_bytes += other.size() + kept.size();
    }
  }
  if (exists && (flags & XATTR_CREATE) != 0) return refuse(EEXIST, name);
  if (!exists && (flags & XATTR_REPLACE) != 0) return refuse(ENODATA, name);

  Inode& inode = (*node)->inode;
  std::optional<std::string> kept{value};
  if (name == kAclAccess || name == kAclDefault) {
    if (acl_is_empty(value)) {
      kept.reset();
    } else {
      Result<std::string> acl = acl_checked(value);
      if (!acl) return fail(acl.error());
      kept = std::move(*acl);
    }
    if (name == kAclAccess && kept) {
      const Result<std::uint32_t> permissions = acl_permissions(*kept);
      if (!permissions) return fail(permissions.error());
      inode.mode = (inode.mode & ~kPermissions) | *permissions;
      if (S_ISREG(inode.mode) && (inode.mode & 0111) != 0) inode.program = true;
      const Result<bool> more = acl_says_more(*kept);
      if (!more) return fail(more.error());
      if (!*more) kept.reset();
    }
  }
  if (kept && other_bytes + name.size() + kept->size() > kMaxXattrs) return refuse(ENOSPC, name);
  inode.has_xattrs = kept || others > 0;
  inode.ctime = change.now();
  if (kept || exists) (*node)->xattrs.emplace(name, std::move(kept));
  (*node)->changed = true;
  return write(change, **node, note);
}

Result<WritableTree::Entry> WritableTree::remove_xattr(Ino ino, std::string_view name, const Note& note) {
  const MutexLock lock{mutex_};
  TreeChange change = begin();
  const Result<TreeChange::Node*> node = change.node(ino);
  if (!node) return fail(node.error());
  const auto present = reader().xattrs(ino);
  if (!present) return fail(present.error());
  if (std::ranges::none_of(*present, [name](const auto& one) { return one.first == name; }))
    return refuse(ENODATA, name);
  Inode& inode = (*node)->inode;
  inode.has_xattrs = present->size() > 1;
  inode.ctime = change.now();
  (*node)->xattrs.emplace(name, std::nullopt);
  (*node)->changed = true;
  return write(change, **node, note);
}

}  // namespace stellarium::fs
