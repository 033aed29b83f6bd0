#pragma once
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/bytes.h"
#include "base/io.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/chores.h"
#include "fs/staged_cache.h"
#include "fs/staged_leases.h"
#include "fs/sync_order.h"

namespace stellarium::fs {

/// The bytes of files that were written in writable clones and are not in the store yet: each in a plain private host
/// file, named by a random number that is never used twice (docs/formats/staging.md). So a record whose file was lost
/// never meets another file's bytes.
///
/// Durability: nothing is synced unless asked for. A file whose fdatasync failed fails every later sync until it is
///          removed: the bytes that did not reach the disk may look clean to the next fdatasync. An error of the
///          kernel's own writing back is seen by the next sync, unless nobody had the file open and the kernel forgot
///          its inode meanwhile.
/// Threads: all functions may be called concurrently. No lock is held over I/O, but one of a file over its fdatasync.
/// Errors:  not_found for a file that is gone or never was; io, out_of_space, permission with the file's name.
class Staging {
 public:
  using File = StagedFile;  ///< users hold a shared_ptr; closed after the last one let go, at the latest at kMaxIdle
  static constexpr std::size_t kMaxIdle = 256;  ///< open files that nobody uses

  /// Makes the folder if it is not there. One process at a time.
  static Result<std::unique_ptr<Staging>> open(Io& io, const std::filesystem::path& dir);

  Result<std::shared_ptr<File>> create();           ///< new and empty
  Result<std::shared_ptr<File>> find(StagedId id);  ///< no system call if it is open already
  Result<struct stat> status(StagedId id);          ///< does not open the file
  /// Whether anybody has the file open for writing, we included, or mapped for writing, also after he closed it. Who
  /// opens it meanwhile waits for microseconds.
  Result<bool> is_being_written(StagedId id);
  /// A descriptor of its own, for one reading from beginning to end: the open files that others use stay as they are.
  Result<UniqueFd> open_to_read(StagedId id);
  /// Bytes were written: now is their time. The host's own clock ticks only every few milliseconds, and a file must not
  /// look older than what was made before it.
  [[nodiscard]] static Result<void> note_written(const File& file);
  /// How many have the file from `create` or `find` just now.
  std::size_t users(StagedId id) const { return cache_->users(id); }
  /// Whether an fdatasync of the file failed: what can be read of it is perhaps not what was written.
  bool has_failed(StagedId id);
  /// Users that have the file open go on; the space is free when the last of them lets go. No error if it is gone.
  Result<void> remove(StagedId id);

  /// Bytes and name are on the disk afterwards. not_found once the file was removed, also for those who have it open.
  Result<void> make_durable(StagedId id);
  /// The file's name became part of an unsynced batch of records, which must not reach the disk before its bytes.
  void note_unsynced(StagedId id);
  /// Makes durable what was noted before the call and still exists; to be called before a batch is synced. A file whose
  /// bytes cannot be is logged, counted, and noted no longer: waiting for it would hold up everybody for ever. Other
  /// failures leave their files noted, the rest is synced nevertheless; returns the first of these, or how many files
  /// were noted.
  Result<std::size_t> sync_noted();
  /// How many files so far had an fdatasync that failed.
  std::uint64_t failures() const { return failures_; }
  /// Asks the system to begin writing the file's bytes. Only a hint.
  void begin_writing(StagedId id);
  /// Makes durable whatever an earlier server left unsynced, which nobody noted here: the whole host file system, which
  /// may take seconds.
  Result<void> sync_earlier();
  /// What keeps files from being noted, and their batches from being written, between the two.
  SyncOrder& order() { return order_; }
  /// What keeps files that were settled from being removed under those who still go by the records of before.
  StagedLeases& leases() { return leases_; }

  /// The place for work on staged files that can wait a second.
  Chores& chores() { return chores_; }

  /// Every file that is there, in no order. Foreign names are logged and left alone.
  Result<std::vector<StagedId>> list();
  struct Usage {
    std::uint64_t files = 0, bytes = 0;  ///< bytes on the host's file system
  };
  Result<Usage> usage();  ///< of all of them; 3 µs each
  /// … and was there when this was opened, for the sweep after a start; once. Files that are made meanwhile may have no
  /// record yet.
  Result<std::vector<StagedId>> take_earlier();

  /// Puts the next bytes of a content, at `offset`, into `out`; returns how many, 0 only at its end.
  using Source = std::function<Result<std::size_t>(std::uint64_t offset, MutableByteSpan out)>;
  /// Fills an empty file with `size` bytes, asking for at most 1 MiB at once; 4 KiB of zeros become a hole. After an
  /// error any part may be there. Errors: those of `read`; io if it ends early.
  Result<void> copy_into(File& target, std::uint64_t size, const Source& read);
  /// Fills an empty file with the first `size` bytes of another one, of which `from` is a descriptor: shares the host's
  /// blocks where it can do that, else copies what is no hole. Asks `go_on` every 64 MiB. Errors: busy if it became
  /// shorter; cancelled.
  Result<void> copy_file(File& target, int from, std::uint64_t size, const std::function<bool()>& go_on);

  using Stats = StagedCache::Counts;
  Stats stats() const { return cache_->counts(); }

 private:
  static constexpr std::size_t kFolders = 256, kRoot = kFolders;  // kRoot: index of the folder of the folders
  struct Folder {
    UniqueFd fd;  // once opened it stays
    // Counted instead of remembering each new name. Names of the last run may be unsynced, so all begin as changed.
    std::uint64_t changes = 1, synced = 0;
  };
  struct Noted {
    StagedId id;
    std::uint64_t mark;  // 0: not noted
  };

  Staging(Io& io, UniqueFd root);
  Result<int> folder_of(StagedId id, bool make);
  Result<void> sync_bytes(File& file);
  Result<void> sync_names(std::size_t folder);
  std::uint64_t mark_of(StagedId id);
  Result<void> sync_group(std::span<const Noted> group, std::vector<Noted>& synced);
  Result<void> sync_all(const std::vector<Noted>& noted);
  void clear_noted(const std::vector<Noted>& synced);
  Result<void> list_folder(int folder, const std::string& folder_name, std::vector<StagedId>& out);

  Io& io_;
  SyncOrder order_;
  StagedLeases leases_{[this](StagedId id) { return remove(id); }};
  const std::shared_ptr<StagedCache> cache_ = std::make_shared<StagedCache>(kMaxIdle);
  Mutex mutex_;
  std::array<Folder, kFolders + 1> folders_ GUARDED_BY(mutex_);
  std::unordered_map<StagedId, Error> failed_ GUARDED_BY(mutex_);  // outlives the open file
  std::atomic<std::uint64_t> failures_ = 0;
  std::unordered_map<StagedId, std::uint64_t> noted_ GUARDED_BY(mutex_);
  bool earlier_taken_ GUARDED_BY(mutex_) = false;
  std::unordered_set<StagedId> made_ GUARDED_BY(mutex_);  // since this was opened, until take_earlier
  std::uint64_t last_mark_ GUARDED_BY(mutex_) = 0;
  bool syncing_noted_ GUARDED_BY(mutex_) = false;  // who set it syncs; the others wait
  std::condition_variable noted_synced_;
  Chores chores_{std::chrono::seconds{1}};  // last
};

}  // namespace stellarium::fs
