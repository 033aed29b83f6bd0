#pragma once
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <shared_mutex>
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

  // Of files that are sparse over something else (places.h):

  /// Shared by who reads what it finds in the hole map, alone for who changes the file.
  std::shared_mutex& places() { return places_; }
  /// Whether its holes are known to be exact (exact_holes.h).
  bool has_exact_holes() const { return exact_.load(std::memory_order_acquire); }
  void set_exact_holes() { exact_.store(true, std::memory_order_release); }
  /// Whether it is known to be on the disk how much of a content shows (sparse_bodies.h); under `places()`.
  bool has_durable_base() const { return durable_base_; }
  void set_durable_base(bool durable) { durable_base_ = durable; }
  /// Counts bytes that were written over a base; returns how many there were before.
  std::uint64_t count_written(std::uint64_t bytes) { return written_.fetch_add(bytes, std::memory_order_relaxed); }

 private:
  friend class Staging;
  const StagedId id_;
  const UniqueFd fd_;
  std::shared_mutex places_;
  std::atomic<bool> exact_ = false;
  bool durable_base_ = false;
  std::atomic<std::uint64_t> written_ = 0;
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
