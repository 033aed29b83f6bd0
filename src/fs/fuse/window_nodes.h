#pragma once
#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/mutex.h"
#include "fs/fuse/node_id.h"
#include "fs/types.h"
#include "tier/tier.h"

namespace stellarium::fs::fuse {

/// Which files of a clone a guest reads by way of its DAX window, and what those show that were written since.
///
/// The guest decides how it reads a file when it first hears of it, and can be told nothing afterwards. So what it was
/// told first of an inode counts for the whole conversation: a file becomes part of the window neither when it is
/// settled nor when it becomes a program. One that is written becomes another node, and the old one, which programs may
/// have open and mapped, goes on showing the old bytes.
/// Memory:  2 bits for each inode that the guest has heard of, in pieces of 1 KiB; a record for each retired node until
///          the guest forgets it.
/// Threads: all functions may be called concurrently.
class WindowNodes {
 public:
  /// A conversation begins. Or one goes on (`resumed`), and what another server said is not known: then no more files
  /// become part of the window, and any may be.
  void start(bool resumed) EXCLUDES(mutex_);
  bool resumed() const EXCLUDES(mutex_);
  /// Whether the guest is to read this inode by way of its window. The first answer stands: `now` is what it is if
  /// nothing was said before.
  bool decide(Ino ino, bool now) EXCLUDES(mutex_);
  bool contains(Ino ino) const EXCLUDES(mutex_);  ///< Whether it was, or may have been, decided so.

  /// The bytes of a node are about to become others. The first call for a node counts.
  void retire(NodeId node, const tier::ContentRef& content) EXCLUDES(mutex_);
  /// Keeps what a retired node shows from eviction and from gc.
  void hold(NodeId node, tier::HotFilePtr file) EXCLUDES(mutex_);
  std::optional<tier::ContentRef> retired(NodeId node) const EXCLUDES(mutex_);
  void forget(NodeId node) EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kPiece = 4096;
  struct Piece {
    std::bitset<kPiece> told, by_window;
  };
  struct Retired {
    tier::ContentRef content;
    tier::HotFilePtr file;
  };
  mutable Mutex mutex_;
  bool resumed_ GUARDED_BY(mutex_) = false;
  std::unordered_map<Ino, Piece> pieces_ GUARDED_BY(mutex_);  // by inode number / kPiece
  std::unordered_map<std::uint64_t, Retired> retired_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::fs::fuse
