#pragma once
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "base/mutex.h"
#include "cas/database.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Which inodes of a clone have changed records, names included, that are not on the disk yet. Only their fsync has to
/// wait for the log, which would cover everybody's records and with them the files of all clones; for the others their
/// bytes are enough, as on a file system whose journal keeps a transaction's number with each inode.
///
/// Knows of changes by the log's number after them, which is at worst too high. What an earlier server wrote counts as
/// not synced. Threads: all functions may be called concurrently. Memory: at most 200 KiB.
class UnsyncedInodes {
 public:
  /// Borrows the database.
  explicit UnsyncedInodes(const cas::Database& database) : database_{database}, floor_{database.written()} {}
  UnsyncedInodes(const UnsyncedInodes&) = delete;
  UnsyncedInodes& operator=(const UnsyncedInodes&) = delete;

  /// Whoever changes the inode says so before the record is written: others may see it, and be answered, at once.
  void changing(Ino ino) EXCLUDES(mutex_);
  /// It is written.
  void changed(Ino ino) EXCLUDES(mutex_);
  bool contains(Ino ino) const EXCLUDES(mutex_);

  /// While it lives, and of what was done meanwhile, all inodes count as changed.
  class Hold {
   public:
    explicit Hold(UnsyncedInodes& inodes);
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold();

   private:
    UnsyncedInodes& inodes_;
  };

 private:
  static constexpr std::size_t kMost = 4096;
  struct Change {
    std::uint64_t number = 0;  // of the log, once it is written
    unsigned under_way = 0;
  };

  void make_room(std::uint64_t durable) REQUIRES(mutex_);

  const cas::Database& database_;
  mutable Mutex mutex_;
  std::unordered_map<Ino, Change> changes_ GUARDED_BY(mutex_);
  std::uint64_t floor_ GUARDED_BY(mutex_);  // all inodes count as changed then
  unsigned holds_ GUARDED_BY(mutex_) = 0;
};

}  // namespace stellarium::fs
