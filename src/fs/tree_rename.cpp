#include <sys/stat.h>

#include <cerrno>
#include <cstdio>  // RENAME_*

#include "fs/writable_tree.h"

namespace stellarium::fs {
namespace {

constexpr unsigned kRenameFlags = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;

using Node = TreeChange::Node;

// The two sides of a rename.
struct Move {
  Node* from;  // directory
  TreeChange::Place source;
  Node* moved;
  Node* to;  // directory
  TreeChange::Place target;
  Node* other = nullptr;  // what has the new name
};

Result<Move> look_up(TreeChange& change, Ino parent, std::string_view name, Ino new_parent, std::string_view new_name) {
  const Result<Node*> from = change.directory(parent);
  if (!from) return fail(from.error());
  const Result<Node*> to = change.directory(new_parent);
  if (!to) return fail(to.error());
  Result<TreeChange::Place> source = change.existing(**from, name);
  if (!source) return fail(source.error());
  Result<TreeChange::Place> target = change.place(**to, new_name);
  if (!target) return fail(target.error());
  const Result<Node*> moved = change.child(*source);
  if (!moved) return fail(moved.error());
  Move move{*from, std::move(*source), *moved, *to, std::move(*target)};
  if (move.target.entry.ino != 0) {
    const Result<Node*> other = change.child(move.target);
    if (!other) return fail(other.error());
    move.other = *other;
  }
  return move;
}

// A directory would be cut off from the root in its own subtree.
Result<void> refuse_circle(TreeChange& change, const Node& moved, const Node& to) {
  if (!S_ISDIR(moved.inode.mode)) return {};
  const Result<bool> circle = change.is_below(to.ino, moved.ino);
  if (!circle) return fail(circle.error());
  if (*circle) return refuse(EINVAL, "a directory cannot be in itself");
  return {};
}

// What changes in a node whose name changes, and in its directories.
void move_node(TreeChange& change, Node& node, Node& from, Node& to) {
  node.inode.ctime = change.now();
  node.changed = true;
  if (!S_ISDIR(node.inode.mode)) return;
  node.inode.parent = to.ino;
  --from.inode.nlink;
  ++to.inode.nlink;
}

Result<void> make_room(TreeChange& change, const Move& move) {
  const bool directory = S_ISDIR(move.moved->inode.mode);
  if (S_ISDIR(move.other->inode.mode)) {
    if (!directory) return refuse(EISDIR, move.target.entry.name);
    return change.drop_directory(*move.other, *move.to);
  }
  if (directory) return refuse(ENOTDIR, move.target.entry.name);
  return change.drop_link(*move.other);
}

}  // namespace

Result<WritableTree::Renamed> WritableTree::rename(Ino parent, std::string_view name, Ino new_parent,
                                                   std::string_view new_name, unsigned flags, const Note& note) {
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if ((flags & ~kRenameFlags) != 0 || (exchange && flags != RENAME_EXCHANGE)) return refuse(EINVAL, "flags of rename");
  const MutexLock lock{mutex_};
  TreeChange change = begin();
  const Result<Move> looked = look_up(change, parent, name, new_parent, new_name);
  if (!looked) return fail(looked.error());
  const Move& move = *looked;
  if (move.other != nullptr && (flags & RENAME_NOREPLACE) != 0) return refuse(EEXIST, new_name);
  if (move.other == nullptr && exchange) return refuse(ENOENT, new_name);

  if (move.other != move.moved) {
    if (move.from != move.to) {
      if (Result<void> ok = refuse_circle(change, *move.moved, *move.to); !ok) return fail(ok.error());
      if (exchange)
        if (Result<void> ok = refuse_circle(change, *move.other, *move.from); !ok) return fail(ok.error());
    }
    if (move.other != nullptr && !exchange)
      if (Result<void> ok = make_room(change, move); !ok) return fail(ok.error());
    move_node(change, *move.moved, *move.from, *move.to);
    change.enter(*move.to, move.target, *move.moved);
    if (exchange) {
      move_node(change, *move.other, *move.to, *move.from);
      change.enter(*move.from, move.source, *move.other);
    } else if ((flags & RENAME_WHITEOUT) != 0) {
      const Result<Ino> ino = take_ino();
      if (!ino) return fail(ino.error());
      Inode whiteout;
      whiteout.mode = S_IFCHR;
      whiteout.atime = whiteout.mtime = whiteout.ctime = whiteout.btime = change.now();
      change.enter(*move.from, move.source, *change.add(*ino, std::move(whiteout)));
    } else if (Result<void> removed = change.remove(*move.from, move.source); !removed) {
      return fail(removed.error());
    }
  }
  Result<Entry> moved = write(change, *move.moved, note);
  if (!moved) return fail(moved.error());
  Renamed renamed{std::move(*moved), std::nullopt};
  if (move.other != nullptr && move.other != move.moved) renamed.replaced = Entry{move.other->ino, move.other->inode};
  return renamed;
}

}  // namespace stellarium::fs
