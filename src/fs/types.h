#pragma once
#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <string>

#include "cas/hash.h"

namespace stellarium::fs {

/// Inode number within one layer's tree: 40 bits, 1 is the root, 0 is none.
using Ino = std::uint64_t;
inline constexpr Ino kRootIno = 1;
inline constexpr unsigned kInoBits = 40;

/// Local number of a layer; never used twice in a store. Keys begin with it.
using LayerId = std::uint32_t;

/// A layer, in messages.
inline std::string layer_text(LayerId layer) {
  return "layer " + std::to_string(layer);
}

/// Number of a tree inside a mount's node ids: 20 bits (docs/architecture.md, "Node ids").
using TreeId = std::uint32_t;

struct Timespec {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
  auto operator<=>(const Timespec&) const = default;
};

/// Contents up to this many bytes live in the inode record; they are no chunks and have no ContentId.
inline constexpr std::uint64_t kMaxInlineContent = 64;

/// Where the bytes of an inode are.
enum class Body : std::uint8_t {
  none = 0,     ///< directories, devices, FIFOs, empty files
  inline_ = 1,  ///< in the record itself: small contents and symlink targets
  content = 2,  ///< one chunk or a recipe, by content id
  staged = 3,   ///< in a file of its own, by staged id; in layers that were written only
};

/// Names a file of the staging folder: 63 random bits, never used twice. 0 is none.
using StagedId = std::uint64_t;

/// What shows through the holes of a staged file that was made without copying all of a large content.
struct StagedBase {
  cas::ContentId content;
  std::uint64_t size = 0;       ///< bytes of the content
  std::uint64_t shows = 0;      ///< so many of its first bytes, 1 to `size`; zeros behind them. 0: there is no base
  std::uint64_t allocated = 0;  ///< bytes of the content that are not holes
  explicit operator bool() const { return shows != 0; }
  bool operator==(const StagedBase&) const = default;
};

struct Inode {
  std::uint32_t mode = 0;  ///< type and permission bits as in st_mode
  std::uint32_t uid = 0, gid = 0, nlink = 1;
  std::uint64_t size = 0;  ///< bytes of content, or of the symlink target
  std::uint64_t rdev = 0;  ///< of devices, as makedev(3) packs it
  Timespec atime, mtime, ctime, btime;
  Ino parent = 0;  ///< of directories: where ".." leads
  Body body = Body::none;
  std::string inline_bytes;     ///< body inline_
  cas::ContentId content;       ///< body content
  StagedId staged = 0;          ///< body staged; size, allocated and mtime are then the file's own, here they are hints
  StagedBase base;              ///< body staged, if the file is sparse over a content
  std::uint64_t allocated = 0;  ///< bytes that are not holes; equal to `size` unless the file is sparse
  bool program = false;         ///< executable bit or ELF: worth a hot file of any size
  bool has_xattrs = false;      ///< saves a look-up for the many that have none
  bool operator==(const Inode&) const = default;
};

/// Seven hash bytes order the names of a directory; with a collision byte they are the resume cookie (63 bits).
using DirCookie = std::uint64_t;

struct Dirent {
  DirCookie cookie = 0;  ///< of this entry; a listing resumes behind it
  Ino ino = 0;
  std::uint8_t type = 0;  ///< DT_* of <dirent.h>
  std::string name;
};

}  // namespace stellarium::fs
