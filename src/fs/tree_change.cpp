#include "fs/tree_change.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "fs/clock.h"
#include "fs/families.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

constexpr int kMaxDepth = 1 << 20;  // of directories; only records that lead in a circle have more

std::string inode_text(Ino ino) {
  return "inode " + std::to_string(ino);
}

}  // namespace

tl::unexpected<Error> refuse(int sys_errno, std::string_view what) {
  const Errc code = errc_from_errno(sys_errno);
  return fail(Error{code == Errc::io ? Errc::invalid_argument : code, std::string{what}, sys_errno});
}

Inode forgotten_inode() {
  Inode inode;
  inode.mode = S_IFREG;
  inode.nlink = 0;
  return inode;
}

bool is_forgotten(const Inode& inode) {
  return inode.nlink == 0 && inode == forgotten_inode();
}

TreeChange::TreeChange(const LayerReader& tree, const LayerReader& below, RecordCache* records, AbsentNames* absent)
    : tree_{tree}, below_{below}, records_{records}, absent_{absent}, now_{fs::now()} {}

Result<TreeChange::Node*> TreeChange::load(Ino ino) {
  const auto known = std::ranges::find(nodes_, ino, &Node::ino);
  if (known != nodes_.end()) return &*known;
  auto located = records_ != nullptr ? records_->locate(tree_, ino) : tree_.locate(ino);
  if (!located) return fail(located.error());
  if (!*located || is_forgotten((*located)->inode)) return nullptr;
  return &nodes_.emplace_back(Node{.ino = ino, .inode = std::move((*located)->inode), .layer = (*located)->layer});
}

Result<TreeChange::Node*> TreeChange::node(Ino ino) {
  Result<Node*> loaded = load(ino);
  if (loaded && *loaded == nullptr) return refuse(ESTALE, inode_text(ino));
  return loaded;
}

Result<TreeChange::Node*> TreeChange::directory(Ino ino) {
  Result<Node*> loaded = node(ino);
  if (!loaded) return loaded;
  if (!S_ISDIR((*loaded)->inode.mode)) return refuse(ENOTDIR, inode_text(ino));
  if ((*loaded)->inode.nlink == 0) return refuse(ENOENT, inode_text(ino) + " was removed");
  return loaded;
}

Result<TreeChange::Node*> TreeChange::child(const Place& entry) {
  Result<Node*> loaded = load(entry.entry.ino);
  if (loaded && *loaded == nullptr)
    return fail(Errc::corrupt, entry.entry.name + " leads to no record of " + inode_text(entry.entry.ino));
  return loaded;
}

TreeChange::Node* TreeChange::add(Ino ino, Inode inode) {
  return &nodes_.emplace_back(Node{.ino = ino, .inode = std::move(inode), .changed = true});
}

Result<bool> TreeChange::is_below(Ino ino, Ino ancestor) const {
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    if (ino == ancestor) return true;
    if (ino == kRootIno) return false;
    const Result<std::optional<Inode>> inode = tree_.inode(ino);
    if (!inode) return fail(inode.error());
    if (!*inode || !S_ISDIR((*inode)->mode))
      return fail(Errc::corrupt, inode_text(ino) + " is no directory, but has entries");
    ino = (*inode)->parent;
  }
  return fail(Errc::corrupt, inode_text(ino) + " is below itself");
}

Result<TreeChange::Place> TreeChange::place(const Node& directory, std::string_view name) const {
  if (name.size() > kMaxName) return refuse(ENAMETOOLONG, name.substr(0, kMaxName));
  if (!valid_name(name)) return refuse(EINVAL, "a name that cannot be");
  std::optional<Place> absent;
  if (absent_ != nullptr) absent = absent_->find(directory.ino, name);
  Result<Place> found = absent ? Result<Place>{*std::move(absent)} : tree_.place(directory.ino, name);
  if (found && found->layer == 0 && found->entry.cookie >> 8 != name_hash(name))
    return refuse(ENOSPC, std::string{name} + " is one name too many of its hash");
  return found;
}

Result<TreeChange::Place> TreeChange::existing(const Node& directory, std::string_view name) const {
  Result<Place> found = place(directory, name);
  if (found && found->entry.ino == 0) return refuse(ENOENT, name);
  return found;
}

Result<TreeChange::Place> TreeChange::vacant(const Node& directory, std::string_view name) const {
  Result<Place> found = place(directory, name);
  if (found && found->entry.ino != 0) return refuse(EEXIST, name);
  return found;
}

void TreeChange::touch(Node& directory) const {
  directory.inode.mtime = directory.inode.ctime = now_;
  directory.changed = true;
}

void TreeChange::enter(Node& directory, const Place& place, const Node& node) {
  batch_.put(kDirentFamily, dirent_key(tree_.layer(), directory.ino, place.entry.cookie, place.entry.name),
             encode_dirent({node.ino, dirent_type(node.inode.mode)}));
  changes_names_ = true;
  touch(directory);
}

Result<void> TreeChange::remove(Node& directory, const Place& place) {
  bool below = place.layer != tree_.layer();
  if (!below) {
    const Result<std::optional<Dirent>> lower = below_.lookup(directory.ino, place.entry.name);
    if (!lower) return fail(lower.error());
    below = lower->has_value();
  }
  const std::string key = dirent_key(tree_.layer(), directory.ino, place.entry.cookie, place.entry.name);
  if (below) {
    batch_.put(kDirentFamily, key, encode_dirent(DirentValue::whiteout()));
  } else {
    batch_.erase(kDirentFamily, key);
  }
  changes_names_ = true;
  touch(directory);
  return {};
}

Result<void> TreeChange::drop_link(Node& node) const {
  if (node.inode.nlink == 0) return fail(Errc::corrupt, inode_text(node.ino) + " has a name but no link");
  --node.inode.nlink;
  node.inode.ctime = now_;
  node.changed = true;
  return {};
}

Result<void> TreeChange::drop_directory(Node& node, Node& parent) const {
  const Result<std::optional<Dirent>> first = tree_.list(node.ino, 0).next();
  if (!first) return fail(first.error());
  if (*first) return refuse(ENOTEMPTY, inode_text(node.ino));
  node.inode.nlink = 0;
  node.inode.ctime = now_;
  node.changed = true;
  --parent.inode.nlink;
  parent.changed = true;
  return {};
}

Result<void> TreeChange::put(const Node& node) {
  if (const char* why = why_impossible(node.inode)) return refuse(EINVAL, inode_text(node.ino) + " would have " + why);
  const LayerId layer = tree_.layer();
  if (node.layer != 0 && node.layer != layer) {
    // Extended attributes are read from the layer of the record, so they move with it.
    const auto lower = tree_.xattrs(node.ino);
    if (!lower) return fail(lower.error());
    for (const auto& [name, value] : *lower)
      if (!node.xattrs.contains(name)) batch_.put(kXattrFamily, xattr_key(layer, node.ino, name), value);
  }
  for (const auto& [name, value] : node.xattrs) {
    if (value) {
      batch_.put(kXattrFamily, xattr_key(layer, node.ino, name), *value);
    } else if (node.layer == layer) {
      batch_.erase(kXattrFamily, xattr_key(layer, node.ino, name));
    }
  }
  batch_.put(kInodeFamily, inode_key(layer, node.ino), encode_inode(node.inode));
  return {};
}

Result<cas::Database::Batch> TreeChange::finish() {
  for (const Node& node : nodes_) {
    if (!node.changed) continue;
    if (Result<void> done = put(node); !done) return fail(done.error());
  }
  return std::move(batch_);
}

}  // namespace stellarium::fs
