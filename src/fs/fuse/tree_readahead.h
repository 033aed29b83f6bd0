#pragma once
#include <list>
#include <optional>

#include "base/mutex.h"
#include "fs/types.h"

namespace stellarium::fs::fuse {

/// Notices that cold files are opened in the order of their tree, and says which inodes come next.
///
/// Inode numbers follow the order of listings, so `tar`, `cp -r`, `grep -r` and a starting service that reads a folder
/// open mostly ascending numbers. Each file is small, so readahead within a file never begins; while the program waits
/// for one file, the other processors have nothing to do.
///
/// Method:  as readahead of pages: a miss begins a stream, a second open shortly behind it opens a window that stays
///          ahead of the reader. A window in which everything was present already ends the stream.
/// Memory:  the last kStreams streams.
/// Threads: all functions may be called concurrently.
class TreeReadahead {
 public:
  struct Range {
    Ino begin = 0, end = 0;
  };
  /// Notes that a file was opened or read, and whether somebody had to wait for it; the inodes to fetch now, if any.
  std::optional<Range> note(TreeId tree, Ino ino, bool missed);
  /// Nothing in the range had to be fetched.
  void was_useless(TreeId tree, Range range);

 private:
  struct Stream {
    TreeId tree = 0;
    Ino next = 0;   ///< behind the latest open
    Ino ahead = 0;  ///< behind the last window
  };
  static constexpr std::size_t kStreams = 16;
  static constexpr Ino kWindow = 64;
  static constexpr Ino kSlack = 16;  ///< programs leave files out, and threads overtake each other

  Mutex mutex_;
  std::list<Stream> streams_ GUARDED_BY(mutex_);  // latest first
};

}  // namespace stellarium::fs::fuse
