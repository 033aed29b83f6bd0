#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fs/types.h"

namespace stellarium::fs {

using Xattrs = std::vector<std::pair<std::string, std::string>>;  ///< names strictly ascending

/// One name of a tree, in layer order: the root first, then breadth first, the entries of one directory in cookie
/// order. Inodes are numbered as their first names come, so that both directory entries and inodes appear in the order
/// of their keys.
struct LayerEntry {
  Ino parent = 0;
  DirCookie cookie = 0;  ///< 0 for the root, which has no name
  std::string name;
  Ino ino = 0;
  bool first = true;  ///< false: a further name of an inode that came before; what follows is then empty
  Inode inode;
  Xattrs xattrs;
  std::uint32_t children = 0;  ///< entries, of a directory
};

}  // namespace stellarium::fs
