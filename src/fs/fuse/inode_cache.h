#pragma once
#include <array>
#include <optional>

#include "base/mutex.h"
#include "fs/fuse/node_id.h"
#include "fs/types.h"

namespace stellarium::fs::fuse {

/// Inodes that were lately listed, looked at ahead of a reader, or asked for.
///
/// A listing is mostly followed by questions about what it showed, and an OPEN by READs: a look-up in the database,
/// from cold blocks often, costs ten times the rest of such an answer. As NodeSet it forgets (of two inodes that fall
/// onto one place the later one stays), and never goes stale. Threads: all functions may be called concurrently.
/// Memory: 300 KiB, and what long symlinks take.
class InodeCache {
 public:
  std::optional<Inode> find(NodeId node) {
    Place& place = place_of(node);
    const MutexLock lock{place.mutex};
    if (place.node != node || node == NodeId{}) return std::nullopt;
    return place.inode;
  }
  void insert(NodeId node, const Inode& inode) {
    Place& place = place_of(node);
    const MutexLock lock{place.mutex};
    place.node = node;
    place.inode = inode;
  }

 private:
  static constexpr std::size_t kPlaces = 1024;
  struct Place {
    Mutex mutex;
    NodeId node GUARDED_BY(mutex);  // none: no inode
    Inode inode GUARDED_BY(mutex);
  };
  // Numbers follow the order of listings, so neighbours have places of their own.
  Place& place_of(NodeId node) { return places_[(node.value() ^ node.value() >> kInoBits) % kPlaces]; }

  std::array<Place, kPlaces> places_;
};

}  // namespace stellarium::fs::fuse
