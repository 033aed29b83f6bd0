#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "fs/types.h"

namespace stellarium::fs {

/// An open staged file. Its descriptor reads and writes, and stays open as long as somebody holds the file.
class StagedFile {
 public:
  StagedFile(StagedId id, UniqueFd fd) : id_{id}, fd_{std::move(fd)} {}
  StagedId id() const { return id_; }
  int fd() const { return fd_.get(); }

 private:
  friend class Staging;
  const StagedId id_;
  const UniqueFd fd_;
  Mutex syncing_;  // why it is held over fdatasync: Staging::sync_bytes
};

/// The open staged files: those that are in use, of which there is only one for each id, and the last few that were.
///
/// What `find` and `add` return tells the cache when its last user lets go: only then can the file be closed. It
/// keeps the cache alive.
/// Threads: all functions may be called concurrently. Files are closed with no lock held, but in the thread that lets
///          go; of a removed file that frees its space.
class StagedCache : public std::enable_shared_from_this<StagedCache> {
 public:
  explicit StagedCache(std::size_t idle_limit) : idle_limit_{idle_limit} {}

  std::shared_ptr<StagedFile> find(StagedId id);  ///< null if it is not open
  /// Takes a file that was just opened; returns the one to use, which another thread may have added before.
  std::shared_ptr<StagedFile> add(const std::shared_ptr<StagedFile>& file);
  /// No later `find` finds it. Users go on.
  void forget(StagedId id);
  /// Closes the file. False if somebody uses it.
  bool close_idle(StagedId id);

  /// Handles of the file that were given out and not let go yet.
  std::size_t users(StagedId id) const;

  struct Counts {
    std::size_t open = 0, idle = 0;  ///< `open` includes the idle ones, not forgotten ones that are still in use
  };
  Counts counts() const;

 private:
  struct Entry {
    std::shared_ptr<StagedFile> file;
    std::size_t users = 0;  // handles that were given out
  };
  using Entries = std::list<Entry>;

  std::shared_ptr<StagedFile> handle(const std::shared_ptr<StagedFile>& file);
  void use(Entries::iterator entry) REQUIRES(mutex_);
  void let_go(const std::shared_ptr<StagedFile>& file);

  const std::size_t idle_limit_;
  mutable Mutex mutex_;
  std::unordered_map<StagedId, Entries::iterator> by_id_ GUARDED_BY(mutex_);
  Entries used_ GUARDED_BY(mutex_), idle_ GUARDED_BY(mutex_);  // idle_: the longest idle first
};

}  // namespace stellarium::fs
