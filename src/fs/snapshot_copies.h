#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "fs/staging.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Copies of staged files that programs go on writing, for a snapshot that is being made: of each the last one, and
/// whether the file is still what was copied.
///
/// Who writes is not stopped: a copy is right if size and times of the file were the same before and after it. Stores
/// to a mapping change times only where the page was clean, so the file is written back before; and as times are only
/// as fine as the host's clock ticks, what was changed in the last 20 ms is waited for. Ownership: copies that nobody
/// took are removed at the end. Threads: one.
class SnapshotCopies {
 public:
  static constexpr int kAttempts = 3;  ///< to copy a file while it does not change

  /// Asks `go_on` while it copies; false ends that with cancelled.
  SnapshotCopies(Staging& staging, std::function<bool()> go_on) : staging_{staging}, go_on_{std::move(go_on)} {}
  SnapshotCopies(const SnapshotCopies&) = delete;
  SnapshotCopies& operator=(const SnapshotCopies&) = delete;
  ~SnapshotCopies();

  struct Copy {
    StagedId live = 0, staged = 0;  ///< the file, and its copy
    struct stat seen = {};          ///< of the file, before it was copied
    bool exact = false;             ///< it did not change meanwhile
    int attempts = 0;
  };
  /// Copies the inode's file, anew if it changed since. Not more often than kAttempts; the last copy then is all there
  /// is. `wait`: for its last change to be older than a tick of the clock. Errors: not_found (the file is gone).
  [[nodiscard]] Result<void> prepare(Ino ino, StagedId live, bool wait);
  /// The last copy of this file; null if there is none.
  const Copy* find(Ino ino, StagedId live) const;
  /// Whether the file is what was copied.
  [[nodiscard]] Result<bool> is_current(const Copy& copy) const;
  /// What the frozen layer says of a file instead of `record`.
  static Inode record_of(const Copy& copy, Inode record);
  /// These belong to the snapshot now.
  void take(const std::vector<Ino>& inodes);

 private:
  [[nodiscard]] Result<void> copy(Copy& into, bool wait);
  void discard(StagedId id) const;

  Staging& staging_;
  const std::function<bool()> go_on_;
  std::unordered_map<Ino, Copy> copies_;
};

}  // namespace stellarium::fs
