#pragma once
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "fs/clone_bodies.h"
#include "fs/maybe_mapped.h"
#include "fs/types.h"
#include "fs/writable_tree.h"

namespace stellarium::fs {

/// The clones that are mounted: for work on their records that does not come through the mount.
///
/// Threads: all functions may be called concurrently.
class OpenClones {
 public:
  struct Clone {
    std::shared_ptr<WritableTree> records;
    std::shared_ptr<CloneBodies> bodies;
    std::function<bool(Ino)> is_open;                    ///< whether a program has the inode open
    std::function<std::vector<Ino>()> open_staged = {};  ///< those that are open through their staged files
    std::shared_ptr<MaybeMapped> mapped = {};            ///< those that were
  };
  /// Before the first request is answered. The clone is known until the pointer's last copy is gone, which must not
  /// outlive this object.
  [[nodiscard]] std::shared_ptr<const void> add(Clone clone) EXCLUDES(mutex_);

  /// Calls `work` with those that are open and whose writable layer is one of `layers` (ascending); no clone is
  /// opened or closed meanwhile. `work` may take their locks.
  Result<void> with(const std::vector<LayerId>& layers, const std::function<Result<void>(std::span<const Clone>)>& work)
      EXCLUDES(mutex_);
  /// The same with those that have this layer anywhere below their own.
  Result<void> with_over(LayerId layer, const std::function<Result<void>(std::span<const Clone>)>& work)
      EXCLUDES(mutex_);

 private:
  void remove(std::list<Clone>::iterator clone) EXCLUDES(mutex_);

  Mutex mutex_;
  std::list<Clone> clones_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::fs
