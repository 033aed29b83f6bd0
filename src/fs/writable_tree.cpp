#include "fs/writable_tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fs/families.h"
#include "fs/inheritance.h"
#include "fs/layer_store.h"
#include "fs/posix_acl.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

constexpr std::uint32_t kMaxLinks = 65'000;  // as on ext4
constexpr Ino kReservedAtOnce = 4096;

}  // namespace

Result<std::unique_ptr<WritableTree>> WritableTree::open(cas::Database& database, std::vector<LayerId> layers) {
  if (layers.size() < 2) return fail(Errc::invalid_argument, "a clone has at least two layers");
  const Result<std::optional<LayerRecord>> record = read_layer(database, layers.front());
  if (!record) return fail(record.error());
  if (!*record || (*record)->state != LayerRecord::State::writable)
    return fail(Errc::invalid_argument, layer_text(layers.front()) + " is not writable");
  if ((*record)->parent != layers[1])
    return fail(Errc::invalid_argument, layer_text(layers.front()) + " is not a layer over " + layer_text(layers[1]));
  return std::unique_ptr<WritableTree>{new WritableTree{database, std::move(layers), (*record)->next_ino}};
}

WritableTree::WritableTree(cas::Database& database, std::vector<LayerId> layers, Ino next_ino)
    : database_{database}, unsynced_{database}, next_ino_{next_ino}, reserved_ino_{next_ino} {
  const MutexLock lock{mutex_};
  layers_.push_back({LayerReader{database, layers}, LayerReader{database, {layers.begin() + 1, layers.end()}}});
  current_ = &layers_.back();
}

Result<std::optional<Inode>> WritableTree::inode(Ino ino) const {
  Result<std::optional<LayerReader::Located>> located = locate(ino);
  if (!located) return fail(located.error());
  if (!*located) return std::nullopt;
  return std::move((*located)->inode);
}

Result<std::optional<Dirent>> WritableTree::lookup(Ino parent, std::string_view name) const {
  const std::uint64_t since = absent_.now();
  Result<LayerReader::Place> place = reader().place(parent, name);
  if (!place) return fail(place.error());
  if (place->layer == 0) absent_.remember(parent, name, *place, since);
  if (place->entry.ino == 0) return std::nullopt;
  return std::move(place->entry);
}

Result<Ino> WritableTree::take_ino() {
  if (next_ino_ > kMaxIno) return refuse(ENOSPC, "no inode number is left");
  return next_ino_++;
}

Result<TreeChange::Node*> WritableTree::add_node(TreeChange& change, const TreeChange::Node& parent,
                                                 const NewNode& wanted) {
  if (wanted.symlink.size() > kMaxSymlink) return refuse(ENAMETOOLONG, "the target of a symlink");
  if (S_ISLNK(wanted.mode) == wanted.symlink.empty()) return refuse(EINVAL, "a symlink without, or a target of none");
  std::string default_acl;
  if (parent.inode.has_xattrs && !S_ISLNK(wanted.mode)) {
    Result<std::optional<std::string>> acl = reader().xattr(parent.ino, kAclDefault);
    if (!acl) return fail(acl.error());
    if (*acl) default_acl = std::move(**acl);
  }
  Result<Inheritance> given = inherit(parent.inode, default_acl, wanted.mode, wanted.umask, wanted.gid);
  if (!given) return fail(given.error());

  Inode inode;
  inode.mode = given->mode;
  inode.uid = wanted.uid;
  inode.gid = given->gid;
  inode.rdev = wanted.rdev;
  inode.atime = inode.mtime = inode.ctime = inode.btime = change.now();
  inode.program = S_ISREG(inode.mode) && (inode.mode & 0111) != 0;
  inode.has_xattrs = !given->xattrs.empty();
  if (S_ISDIR(inode.mode)) {
    inode.nlink = 2;
    inode.parent = parent.ino;
  }
  if (!wanted.symlink.empty()) {
    inode.body = Body::inline_;
    inode.inline_bytes = wanted.symlink;
    inode.size = inode.allocated = wanted.symlink.size();
  }
  if (wanted.staged != 0) {
    inode.body = Body::staged;
    inode.staged = wanted.staged;
  }
  const Result<Ino> ino = take_ino();
  if (!ino) return fail(ino.error());
  TreeChange::Node* node = change.add(*ino, std::move(inode));
  for (auto& [name, value] : given->xattrs) node->xattrs.emplace(std::move(name), std::move(value));
  return node;
}

Result<WritableTree::Entry> WritableTree::write(TreeChange& change, const TreeChange::Node& answer, const Note& note) {
  Result<cas::Database::Batch> batch = change.finish();
  if (!batch) return fail(batch.error());
  Ino reserved = reserved_ino_;
  if (next_ino_ > reserved) {
    // Read anew: all but next_ino is not ours.
    Result<std::optional<LayerRecord>> record = read_layer(database_, reader().layer());
    if (!record) return fail(record.error());
    if (!*record || (*record)->state != LayerRecord::State::writable)
      return refuse(EROFS, layer_text(reader().layer()) + " is not writable any more");
    reserved = (*record)->next_ino = std::min(next_ino_ + kReservedAtOnce, kMaxIno + 1);
    put_layer(*batch, reader().layer(), **record);
  }
  Entry entry{answer.ino, answer.inode};
  if (note) note(*batch, entry);
  if (batch->empty()) return entry;
  std::optional<AbsentNames::Change> names;
  if (change.changes_names()) names.emplace(absent_);
  for (const TreeChange::Node& node : change.nodes())
    if (node.changed) unsynced_.changing(node.ino);
  const Result<void> written = database_.write(std::move(*batch), cas::Database::Sync::no);
  for (const TreeChange::Node& node : change.nodes()) {
    if (!node.changed) continue;
    unsynced_.changed(node.ino);
    if (written) {
      records_.written(node.ino, {reader().layer(), node.inode});
    } else {
      records_.drop(node.ino);
    }
  }
  if (!written) return fail(written.error(), "writing " + layer_text(reader().layer()));
  reserved_ino_ = reserved;
  if (!orphans_) return entry;
  for (const TreeChange::Node& node : change.nodes()) {
    if (!node.changed) continue;
    if (node.inode.nlink == 0) {
      orphans_->insert(node.ino);
    } else {
      orphans_->erase(node.ino);
    }
  }
  return entry;
}

Result<WritableTree::Entry> WritableTree::make(Ino parent, std::string_view name, const NewNode& wanted,
                                               const Note& note) {
  const MutexLock lock{mutex_};
  TreeChange change = begin();
  const Result<TreeChange::Node*> directory = change.directory(parent);
  if (!directory) return fail(directory.error());
  const Result<TreeChange::Place> place = change.vacant(**directory, name);
  if (!place) return fail(place.error());
  const Result<TreeChange::Node*> made = add_node(change, **directory, wanted);
  if (!made) return fail(made.error());
  change.enter(**directory, *place, **made);
  if (S_ISDIR(wanted.mode)) ++(*directory)->inode.nlink;
  return write(change, **made, note);
}

Result<WritableTree::Entry> WritableTree::make_unnamed(Ino parent, const NewNode& wanted, const Note& note) {
  if (!S_ISREG(wanted.mode)) return refuse(EINVAL, "only regular files can be without a name");
  const MutexLock lock{mutex_};
  TreeChange change = begin();
  const Result<TreeChange::Node*> directory = change.directory(parent);
  if (!directory) return fail(directory.error());
  const Result<TreeChange::Node*> made = add_node(change, **directory, wanted);
  if (!made) return fail(made.error());
  (*made)->inode.nlink = 0;
  return write(change, **made, note);
}

Result<WritableTree::Entry> WritableTree::link(Ino ino, Ino parent, std::string_view name, const Note& note) {
  const MutexLock lock{mutex_};
  TreeChange change = begin();
  const Result<TreeChange::Node*> directory = change.directory(parent);
  if (!directory) return fail(directory.error());
  const Result<TreeChange::Node*> node = change.node(ino);
  if (!node) return fail(node.error());
  const Result<TreeChange::Place> place = change.vacant(**directory, name);
  if (!place) return fail(place.error());
  Inode& inode = (*node)->inode;
  if (S_ISDIR(inode.mode)) return refuse(EPERM, "a second name of a directory");
  if (inode.nlink >= kMaxLinks) return refuse(EMLINK, name);
  ++inode.nlink;
  inode.ctime = change.now();
  (*node)->changed = true;
  change.enter(**directory, *place, **node);
  return write(change, **node, note);
}

Result<WritableTree::Entry> WritableTree::unlink(Ino parent, std::string_view name, const Note& note) {
  const MutexLock lock{mutex_};
  TreeChange change = begin();
  const Result<TreeChange::Node*> directory = change.directory(parent);
  if (!directory) return fail(directory.error());
  const Result<TreeChange::Place> place = change.existing(**directory, name);
  if (!place) return fail(place.error());
  const Result<TreeChange::Node*> node = change.child(*place);
  if (!node) return fail(node.error());
  if (S_ISDIR((*node)->inode.mode)) return refuse(EISDIR, name);
  if (Result<void> dropped = change.drop_link(**node); !dropped) return fail(dropped.error());
  if (Result<void> removed = change.remove(**directory, *place); !removed) return fail(removed.error());
  return write(change, **node, note);
}

Result<WritableTree::Entry> WritableTree::rmdir(Ino parent, std::string_view name, const Note& note) {
  const MutexLock lock{mutex_};
  TreeChange change = begin();
  const Result<TreeChange::Node*> directory = change.directory(parent);
  if (!directory) return fail(directory.error());
  const Result<TreeChange::Place> place = change.existing(**directory, name);
  if (!place) return fail(place.error());
  const Result<TreeChange::Node*> node = change.child(*place);
  if (!node) return fail(node.error());
  if (!S_ISDIR((*node)->inode.mode)) return refuse(ENOTDIR, name);
  if (Result<void> dropped = change.drop_directory(**node, **directory); !dropped)
    return fail(dropped.error(), std::string{name});
  if (Result<void> removed = change.remove(**directory, *place); !removed) return fail(removed.error());
  return write(change, **node, note);
}

Result<void> WritableTree::exclusively(const std::function<Result<void>()>& work) {
  const MutexLock lock{mutex_};
  const RecordCache::Hold hold{records_};
  const UnsyncedInodes::Hold unsynced{unsynced_};
  return work();
}

Result<void> WritableTree::forget(Ino ino) {
  const MutexLock lock{mutex_};
  const Result<std::optional<LayerReader::Located>> located = reader().locate(ino);
  if (!located) return fail(located.error());
  const LayerId layer = reader().layer();
  if (!*located || (*located)->layer != layer || (*located)->inode.nlink != 0 || is_forgotten((*located)->inode))
    return {};
  const Result<std::optional<Inode>> lower = current().below.inode(ino);
  if (!lower) return fail(lower.error());

  cas::Database::Batch batch;
  if (*lower) {
    batch.put(kInodeFamily, inode_key(layer, ino), encode_inode(forgotten_inode()));
  } else {
    batch.erase(kInodeFamily, inode_key(layer, ino));
  }
  // A removed directory may have entries that say which names of a lower layer are gone.
  const std::pair<const cas::Family*, std::string> leftovers[] = {{&kXattrFamily, xattr_key(layer, ino)},
                                                                  {&kDirentFamily, dirent_prefix(layer, ino)}};
  for (const auto& [family, prefix] : leftovers) {
    const auto cursor = database_.scan(*family, prefix, prefix_end(prefix));
    for (; cursor->valid(); cursor->next()) batch.erase(*family, cursor->key());
    if (const Result<void> status = cursor->status(); !status) return fail(status.error(), "forgetting an inode");
  }
  unsynced_.changing(ino);
  const Result<void> written = database_.write(std::move(batch), cas::Database::Sync::no);
  unsynced_.changed(ino);
  records_.drop(ino);
  if (!written) return written;
  if (orphans_) orphans_->erase(ino);
  return {};
}

Result<std::vector<WritableTree::Entry>> WritableTree::find_orphans() const {
  std::vector<Entry> found;
  LayerReader::InodeScan scan = LayerReader{database_, reader().layer()}.scan_inodes();
  while (true) {
    Result<std::optional<std::pair<Ino, Inode>>> next = scan.next();
    if (!next) return fail(next.error());
    if (!*next) return found;
    auto& [ino, inode] = **next;
    if (inode.nlink == 0 && !is_forgotten(inode)) found.push_back({ino, std::move(inode)});
  }
}

}  // namespace stellarium::fs
