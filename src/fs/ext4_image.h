#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "fs/types.h"

struct struct_ext2_filsys;  // libext2fs's

namespace stellarium::fs {

/// A file system of the ext family (ext2, ext3, ext4), read from its image without mounting it [libext2fs].
///
/// An image may be anybody's: numbers, names and pointers in it are checked here, one that does not hold together is
/// refused, and nothing is ever written to it. One that was not unmounted is refused, too, because its newest changes
/// are in its journal only.
/// Threads: one at a time. Memory: libext2fs's group descriptors (64 bytes per 128 MiB), and what is asked for.
/// Errors:  invalid_argument (no such file system), not_supported (a feature, an encrypted file), corrupt, io. They
/// name
///          the inode by its number.
class Ext4Image {
 public:
  using Number = std::uint32_t;  ///< of an inode
  static constexpr Number kRoot = 2;

  struct Node {
    std::uint32_t mode = 0, uid = 0, gid = 0, links = 0;
    std::uint64_t size = 0, rdev = 0;
    Timespec mtime;
  };
  struct Entry {
    std::string name;
    Number inode = 0;
  };
  /// Bytes of a file that lie together in the image.
  struct Piece {
    std::uint64_t offset = 0, size = 0;
    std::uint64_t where = 0;  ///< in the image
  };
  struct Data {
    std::vector<Piece> pieces;  ///< ascending, disjoint, inside the file's size; between them are holes
    std::string in_inode;       ///< all of it, instead, where the inode itself has it
  };

  /// Whether the file begins as an image does; false also if it cannot be read.
  static bool is_one(int file);
  /// `file`, a regular file or a block device, is the caller's and stays open while this object lives.
  static Result<Ext4Image> open(int file);

  [[nodiscard]] Result<Node> node(Number number) const;
  /// What is in a folder, by name in byte order, without "." and "..".
  [[nodiscard]] Result<std::vector<Entry>> entries(Number folder) const;
  [[nodiscard]] Result<std::string> link_target(Number link) const;
  /// By name, raw values, as getxattr(2) shows them.
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> xattrs(Number number) const;
  /// Where a regular file's bytes are. Each file once: all of them together cannot have more than the image.
  [[nodiscard]] Result<Data> data(Number file);
  /// Fills `out` from position `where` of the image.
  [[nodiscard]] Result<void> read(std::uint64_t where, MutableByteSpan out) const;

 private:
  struct Close {
    void operator()(struct_ext2_filsys* system) const;
  };
  Ext4Image(int file, struct_ext2_filsys* system);

  int file_;
  std::unique_ptr<struct_ext2_filsys, Close> system_;
  std::uint64_t block_bytes_ = 0, blocks_ = 0;
  std::uint64_t claimed_ = 0;  // bytes that `data` told of
};

}  // namespace stellarium::fs
