#pragma once
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "fs/types.h"

namespace stellarium::fs {

/// The inodes of a mounted clone that were open through their staged files: a mapping, which outlives its handle, may
/// still change the bytes, and nobody says so.
///
/// Whoever finds out that nothing is mapped (Staging::is_being_written) strikes the inode off, with the mark that it
/// had before: if it was opened and closed in between, it stays. Threads: all functions may be called concurrently.
class MaybeMapped {
 public:
  void add(Ino ino) EXCLUDES(mutex_);
  /// Strikes off whatever is known: no mapping is left.
  void forget(Ino ino) EXCLUDES(mutex_);
  std::uint64_t mark(Ino ino) const EXCLUDES(mutex_);  ///< 0: it is not listed
  void strike(Ino ino, std::uint64_t mark) EXCLUDES(mutex_);
  std::vector<Ino> list() const EXCLUDES(mutex_);

  /// Whether mappings may exist of files that are not listed: what an earlier server knew is lost.
  bool incomplete() const EXCLUDES(mutex_);
  void set_incomplete(bool incomplete) EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::unordered_map<Ino, std::uint64_t> marks_ GUARDED_BY(mutex_);
  std::uint64_t last_mark_ GUARDED_BY(mutex_) = 0;
  bool incomplete_ GUARDED_BY(mutex_) = false;
};

}  // namespace stellarium::fs
