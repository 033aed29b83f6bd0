#pragma once
#include <compare>
#include <cstdint>
#include <optional>

#include "fs/fuse/abi.h"
#include "fs/types.h"

namespace stellarium::fs::fuse {

/// What the kernel calls a file: tree (20 bits), incarnation (4), inode number (40). The root of a mount is always 1.
///
/// The id is all a server must know to find the inode again, so FORGET needs no bookkeeping and a restarted server
/// none either. The incarnation is 0 in read-only views; writable ones raise it where content must change under an
/// open hot handle (OpenFiles::renew).
class NodeId {
 public:
  static constexpr unsigned kIncarnationBits = 4;
  static constexpr unsigned kMaxIncarnation = (1u << kIncarnationBits) - 1;
  static constexpr unsigned kTreeBits = 20;
  static constexpr Ino kMaxIno = (Ino{1} << kInoBits) - 1;
  static constexpr TreeId kMaxTree = (TreeId{1} << kTreeBits) - 1;

  constexpr NodeId() = default;
  explicit constexpr NodeId(std::uint64_t value) : value_{value} {}
  /// `tree` and `ino` must be in range.
  static constexpr NodeId of(TreeId tree, Ino ino) {
    return NodeId{std::uint64_t{tree} << (kInoBits + kIncarnationBits) | ino};
  }
  static constexpr NodeId root() { return NodeId{abi::kRootNode}; }

  /// The same inode as its first or next incarnation. The last one has none.
  constexpr NodeId first() const { return NodeId{value_ & ~(std::uint64_t{kMaxIncarnation} << kInoBits)}; }
  constexpr NodeId next() const { return NodeId{value_ + (std::uint64_t{1} << kInoBits)}; }

  constexpr std::uint64_t value() const { return value_; }
  constexpr TreeId tree() const { return static_cast<TreeId>(value_ >> (kInoBits + kIncarnationBits)); }
  constexpr unsigned incarnation() const {
    return static_cast<unsigned>(value_ >> kInoBits) & ((1u << kIncarnationBits) - 1);
  }
  constexpr Ino ino() const { return value_ & kMaxIno; }

  auto operator<=>(const NodeId&) const = default;

 private:
  std::uint64_t value_ = 0;
};

}  // namespace stellarium::fs::fuse
