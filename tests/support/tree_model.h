#pragma once
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cerrno>
#include <cstdio>
#include <map>
#include <string>

#include "fs/layer_reader.h"
#include "fs/records.h"

namespace stellarium::test {

/// What a clone should be: the same operations on plain maps. Each answers with an errno, 0 for success, in which case
/// the tree must have succeeded too; new inodes have the numbers that the tree gave them.
class TreeModel {
 public:
  struct Node {
    std::uint32_t mode = 0, uid = 0, gid = 0, nlink = 1;
    fs::Ino parent = 0;
    fs::StagedId staged = 0;
    std::string target = {};
    std::map<std::string, std::string> xattrs = {};
    bool operator==(const Node&) const = default;
  };
  using Entries = std::map<std::string, fs::Ino>;

  std::map<fs::Ino, Node> nodes;       ///< also those without links
  std::map<fs::Ino, Entries> entries;  ///< of all directories among them

  bool operator==(const TreeModel&) const = default;

  bool is_directory(fs::Ino ino) const { return nodes.contains(ino) && S_ISDIR(nodes.at(ino).mode); }
  /// The directory can take names.
  int directory_error(fs::Ino ino) const {
    if (!nodes.contains(ino)) return ESTALE;
    if (!is_directory(ino)) return ENOTDIR;
    return nodes.at(ino).nlink == 0 ? ENOENT : 0;
  }
  fs::Ino find(fs::Ino parent, const std::string& name) const {
    const Entries& all = entries.at(parent);
    const auto found = all.find(name);
    return found == all.end() ? 0 : found->second;
  }

  int make(fs::Ino parent, const std::string& name, fs::Ino ino, Node node) {
    if (const int error = directory_error(parent)) return error;
    if (find(parent, name) != 0) return EEXIST;
    if (S_ISDIR(node.mode)) {
      node.nlink = 2;
      node.parent = parent;
      entries[ino];
      ++nodes[parent].nlink;
    }
    nodes[ino] = std::move(node);
    entries[parent][name] = ino;
    return 0;
  }
  int make_unnamed(fs::Ino parent, fs::Ino ino, Node node) {
    if (const int error = directory_error(parent)) return error;
    node.nlink = 0;
    nodes[ino] = std::move(node);
    return 0;
  }
  int link(fs::Ino ino, fs::Ino parent, const std::string& name) {
    if (const int error = directory_error(parent)) return error;
    if (!nodes.contains(ino)) return ESTALE;
    if (find(parent, name) != 0) return EEXIST;
    if (is_directory(ino)) return EPERM;
    ++nodes[ino].nlink;
    entries[parent][name] = ino;
    return 0;
  }
  int unlink(fs::Ino parent, const std::string& name) {
    if (const int error = directory_error(parent)) return error;
    const fs::Ino ino = find(parent, name);
    if (ino == 0) return ENOENT;
    if (is_directory(ino)) return EISDIR;
    --nodes[ino].nlink;
    entries[parent].erase(name);
    return 0;
  }
  int rmdir(fs::Ino parent, const std::string& name) {
    if (const int error = directory_error(parent)) return error;
    const fs::Ino ino = find(parent, name);
    if (ino == 0) return ENOENT;
    if (!is_directory(ino)) return ENOTDIR;
    if (!entries[ino].empty()) return ENOTEMPTY;
    drop_directory(ino);
    entries[parent].erase(name);
    return 0;
  }
  /// `whiteout`: number of the device that RENAME_WHITEOUT makes.
  int rename(fs::Ino parent, const std::string& name, fs::Ino to, const std::string& new_name, unsigned flags,
             fs::Ino whiteout) {
    if (const int error = directory_error(parent)) return error;
    if (const int error = directory_error(to)) return error;
    const fs::Ino moved = find(parent, name), other = find(to, new_name);
    const bool exchange = flags == RENAME_EXCHANGE;
    if (moved == 0) return ENOENT;
    if (other != 0 && (flags & RENAME_NOREPLACE) != 0) return EEXIST;
    if (other == 0 && exchange) return ENOENT;
    if (other == moved) return 0;
    if (is_directory(moved) && is_below(to, moved)) return EINVAL;
    if (exchange && is_directory(other) && is_below(parent, other)) return EINVAL;
    if (!exchange && other != 0) {
      if (is_directory(other) && !is_directory(moved)) return EISDIR;
      if (!is_directory(other) && is_directory(moved)) return ENOTDIR;
      if (is_directory(other)) {
        if (!entries[other].empty()) return ENOTEMPTY;
        drop_directory(other);
      } else {
        --nodes[other].nlink;
      }
    }
    entries[to][new_name] = moved;
    adopt(moved, parent, to);
    if (exchange) {
      entries[parent][name] = other;
      adopt(other, to, parent);
    } else if ((flags & RENAME_WHITEOUT) != 0) {
      entries[parent][name] = whiteout;
      nodes[whiteout] = {.mode = S_IFCHR};
    } else {
      entries[parent].erase(name);
    }
    return 0;
  }
  int set_xattr(fs::Ino ino, const std::string& name, const std::string& value, int flags) {
    if (!nodes.contains(ino)) return ESTALE;
    auto& xattrs = nodes[ino].xattrs;
    if (xattrs.contains(name) && (flags & XATTR_CREATE) != 0) return EEXIST;
    if (!xattrs.contains(name) && (flags & XATTR_REPLACE) != 0) return ENODATA;
    xattrs[name] = value;
    return 0;
  }
  int remove_xattr(fs::Ino ino, const std::string& name) {
    if (!nodes.contains(ino)) return ESTALE;
    return nodes[ino].xattrs.erase(name) != 0 ? 0 : ENODATA;
  }
  void forget(fs::Ino ino) {
    if (!nodes.contains(ino) || nodes[ino].nlink != 0) return;
    nodes.erase(ino);
    entries.erase(ino);
  }

  static Node node_of(const fs::Inode& inode) {
    return {inode.mode, inode.uid, inode.gid, inode.nlink, inode.parent, inode.staged, inode.inline_bytes, {}};
  }
  /// All that can be reached from the root, and what else `orphans` names.
  static TreeModel read(const fs::LayerReader& reader, const std::vector<fs::Ino>& orphans) {
    TreeModel model;
    model.read_node(reader, fs::kRootIno);
    for (const fs::Ino ino : orphans) model.read_node(reader, ino);
    return model;
  }

 private:
  void read_node(const fs::LayerReader& reader, fs::Ino ino) {
    if (nodes.contains(ino)) return;
    const fs::Inode inode = reader.inode(ino).value().value();
    Node& node = nodes.emplace(ino, node_of(inode)).first->second;
    const auto xattrs = reader.xattrs(ino).value();
    node.xattrs.insert(xattrs.begin(), xattrs.end());
    if (node.xattrs.empty() == inode.has_xattrs) node.xattrs.emplace("has_xattrs", "is wrong");
    if (!S_ISDIR(inode.mode)) return;
    Entries& names = entries[ino];
    fs::DirCookie last = fs::kFirstCookie - 1;
    auto listing = reader.list(ino, 0);
    while (const auto entry = listing.next().value()) {
      const auto looked_up = reader.lookup(ino, entry->name).value();
      const bool agrees = looked_up && looked_up->ino == entry->ino && looked_up->cookie == entry->cookie;
      names.emplace(entry->name + (agrees && entry->cookie > last ? "" : " (not found where it is listed)"),
                    entry->ino);
      last = entry->cookie;
      read_node(reader, entry->ino);
      if (fs::dirent_type(nodes.at(entry->ino).mode) != entry->type) names.emplace(entry->name + "'s type", 0);
    }
  }
  bool is_below(fs::Ino ino, fs::Ino ancestor) const {
    while (ino != ancestor && ino != fs::kRootIno) ino = nodes.at(ino).parent;
    return ino == ancestor;
  }
  void drop_directory(fs::Ino ino) {
    nodes[ino].nlink = 0;
    --nodes[nodes[ino].parent].nlink;
  }
  void adopt(fs::Ino ino, fs::Ino from, fs::Ino to) {
    if (!is_directory(ino)) return;
    nodes[ino].parent = to;
    --nodes[from].nlink;
    ++nodes[to].nlink;
  }
};

}  // namespace stellarium::test
