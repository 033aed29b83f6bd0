#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "fs/catalog.h"
#include "fs/headroom.h"
#include "fs/open_clones.h"
#include "fs/rebinding.h"
#include "fs/staging.h"
#include "tier/tier.h"

namespace stellarium::fs {

/// Brings the bytes of staged files into the store, where they are chunked, deduplicated and compressed like those of
/// an image; the staged files then go. Programs notice nothing: bytes, sizes and times stay.
///
/// Quiet:   only files that no program has open and that nobody changed for a while, which is longer for a large file
///          that can be written again. One that is opened for writing or changed while it is read stays what it is.
/// Order on disk: contents are durable before records name them, records before the files go, so a crash at any point
///          loses nothing. Up to 1,000 files or 64 MiB share one session, one commit and one sync.
/// Locks:   none is held while a file is read, hashed or stored (Rebinding says which, and how long, afterwards).
/// Memory:  bounded: 1,000 files' names, one piece of 256 KiB, what a session takes.
/// Space:   contents are stored before the files go, so little room means small groups, and a file that might not fit
///          is left; out_of_space if that was so of some and none could be settled.
/// Threads: all functions may be called concurrently; runs wait for each other.
class Settler {
 public:
  struct Parts {
    cas::Database& database;
    cas::ContentStore& contents;
    Catalog& catalog;
    Staging& staging;
    OpenClones& clones;
    tier::Tier& tier;
    Headroom* headroom = nullptr;  ///< what the host has room for; without it nobody looks
  };
  explicit Settler(const Parts& parts);

  struct Report {
    std::uint64_t files = 0, bytes = 0;  ///< that were settled; bytes as in their sizes
    std::uint64_t busy = 0;              ///< files that are in use, or were changed too lately or meanwhile
    std::uint64_t failed = 0;            ///< files that cannot be read; the log names them
    std::uint64_t bytes_read = 0;        ///< so far, also of files that then turn out to be busy
    std::uint64_t bytes_new = 0;         ///< of contents that the store did not have
    std::uint64_t bytes_stored = 0;      ///< what those take in segments
  };
  /// Asked between pieces of 256 KiB, and at least once a file; may sleep. False ends the run: what was read until then
  /// is settled.
  using GoOn = std::function<bool(const Report& so_far)>;
  /// How long a file of so many bytes must have been quiet if it can still be written: a large one that was settled is
  /// sparse from its next write on, and no longer passed through. So the tables of a database that rests for some
  /// minutes stay as they are.
  static std::chrono::milliseconds quiet_time(std::uint64_t bytes, std::chrono::milliseconds quiet);
  /// Settles what is quiet since `quiet` in layers that clones wrote, and for `quiet_time` in a writable one; of others
  /// nothing happens.
  /// Errors: corrupt, out_of_space, io of the store. What was settled before stays settled.
  [[nodiscard]] Result<Report> settle(const std::vector<LayerId>& layers, std::chrono::milliseconds quiet,
                                      const GoOn& go_on) EXCLUDES(mutex_);
  /// Whether another run waits for this one: one in the background should end then.
  bool somebody_waits() const EXCLUDES(mutex_);

 private:
  class Run;
  class Turn;
  void begin() EXCLUDES(mutex_);
  void end() EXCLUDES(mutex_);

  const Parts parts_;
  mutable Mutex mutex_;
  std::condition_variable ended_;
  bool running_ GUARDED_BY(mutex_) = false;
  std::size_t waiting_ GUARDED_BY(mutex_) = 0;
};

}  // namespace stellarium::fs
