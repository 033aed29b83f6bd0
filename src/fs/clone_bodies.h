#pragma once
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/byte_parts.h"
#include "base/mutex.h"
#include "base/result.h"
#include "cas/database.h"
#include "fs/clone_quota.h"
#include "fs/sparse_bodies.h"
#include "fs/staging.h"
#include "fs/types.h"
#include "fs/writable_tree.h"
#include "fs/write_gate.h"
#include "tier/tier.h"

namespace stellarium::fs {

/// The bodies of a clone's files: a file that nobody wrote is what the layers below say; the first change of its bytes
/// makes a staged file of it, a private host file, which is written from then on. A large one is not copied for that:
/// its staged file is sparse over the content (SparseBodies).
///
/// What a staged file's inode record says of size and times of writing is only a hint: the file itself knows, and
/// `refresh` asks it. A file that lies in a frozen layer is copied like any other content.
/// Order on disk: records never become durable before the bytes that they name, and no staged file is removed before
///          the records that dropped it are durable (`sync`).
/// Threads: all functions may be called concurrently.
class CloneBodies {
 public:
  /// Borrows all of them. `quota`: what may be written; nothing: whatever fits.
  CloneBodies(WritableTree& tree, Staging& staging, tier::Tier& tier, cas::Database& database,
              std::shared_ptr<CloneQuota> quota = nullptr);
  ~CloneBodies();  ///< removes what may be removed

  /// Sets what a staged file knows better than the record of `ino` that was read: size, allocated bytes, times. If the
  /// file was settled since, the record is read again.
  [[nodiscard]] Result<void> refresh(Ino ino, Inode& inode) const;
  /// Whether a staged file was not found only because the record of `ino` names another body by now, as after settling:
  /// whoever went by the record `seen` has to look again.
  bool moved_on(Ino ino, const Inode& seen, const Error& error) const;
  /// An empty file for the bytes of an inode that is about to be made.
  [[nodiscard]] Result<std::shared_ptr<Staging::File>> create();
  /// … that was not made.
  void discard(StagedId id);
  /// The file that has all of the inode's bytes if they are staged in the writable layer itself; else null.
  [[nodiscard]] Result<std::shared_ptr<Staging::File>> own(Ino ino);
  /// Whether a mapping may be changing a staged file that no handle has open.
  [[nodiscard]] Result<bool> is_being_written(StagedId id) { return staging_.is_being_written(id); }
  /// Bytes of a regular file's body, wherever they are, cut at its end. `inode` was refreshed, and is read again if the
  /// file was settled since.
  [[nodiscard]] Result<std::size_t> read(Ino ino, Inode& inode, std::uint64_t offset, MutableByteSpan out);
  /// The same from a host file that has all of the bytes, straight to where they are wanted; nothing if there is none.
  [[nodiscard]] Result<std::optional<std::size_t>> read_straight(Ino ino, Inode& inode, std::uint64_t offset,
                                                                 MutableByteParts out);
  /// A content that the read of [offset, offset + size) can be answered from as it is; nothing if it cannot.
  [[nodiscard]] Result<std::optional<tier::ContentRef>> content_at(const Inode& inode, std::uint64_t offset,
                                                                   std::uint64_t size);
  /// The next data or hole of a body that is staged, at or behind `offset`, which lies in it; the size if there is
  /// none. `next_in_base`: as SparseBodies::seek.
  [[nodiscard]] Result<std::uint64_t> seek(Ino ino, Inode& inode, std::uint64_t offset, bool data,
                                           const SparseBodies::NextInBase& next_in_base);
  /// Files up to this many bytes are copied as a whole, and can then be passed through.
  static constexpr std::uint64_t kWholeCopy = 4u << 20;
  /// A sparse file into which so much was written gets the rest of its bytes in the background, if there is room and it
  /// is not too large: from its next open it is passed through.
  static constexpr std::uint64_t kWorthCompleting = 16u << 20, kMaxCompleted = 1u << 30;
  /// Makes sure that the regular file's bytes are staged in the writable layer, up to `keep` of them; large ones
  /// sparsely. Errors: ESTALE, EINVAL (no regular file), and those of reading and copying.
  [[nodiscard]] Result<std::shared_ptr<Staging::File>> writable(Ino ino, std::uint64_t keep = UINT64_MAX);
  /// As much as fits, as write(2).
  [[nodiscard]] Result<std::size_t> write(Ino ino, ByteParts data, std::uint64_t offset);
  [[nodiscard]] Result<std::size_t> write(Ino ino, ByteSpan data, std::uint64_t offset) {
    return write(ino, ByteParts{&data, 1}, offset);
  }
  /// fallocate(2) of the modes that neither collapse nor insert.
  [[nodiscard]] Result<void> allocate(Ino ino, int mode, std::uint64_t offset, std::uint64_t length);
  /// Sets the size. Nothing is copied that is cut off.
  [[nodiscard]] Result<void> truncate(Ino ino, std::uint64_t size);
  /// A staged file that belongs to a snapshot is copied, because its time of writing is about to change.
  [[nodiscard]] Result<void> unshare(Ino ino);
  /// A staged file takes over the record's time of writing, if `written`, or gives it its own.
  [[nodiscard]] Result<void> set_times(Inode& inode, bool written);
  /// Calls `work` while nobody can begin to write the staged file or has it in hand; false if somebody does just now.
  /// Open handles are the caller's to look at, in `work`: who opens the file for writing has it in hand until the
  /// handle is known.
  bool while_unused(Ino ino, StagedId id, const std::function<void()>& work);
  /// A record that is about to be written names the body: its bytes must be on disk before that record. Where that
  /// counts (a file takes another one's name), `order` is held from before this until the record is written.
  void bound(const Inode& inode);
  SyncOrder& order() { return staging_.order(); }
  /// The file was renamed over another, whose bytes people will miss after a power cut unless these come to the disk
  /// soon, even if nobody syncs. The record goes there by itself within half a minute. As ext4 does (auto_da_alloc).
  void took_over(const Inode& inode);
  CloneQuota& quota() { return *quota_; }
  /// To be passed by whoever changes bytes, or opens a file that may be staged.
  WriteGate& gate() { return gate_; }
  /// Whether the staged file belongs to the writable layer: a record that was copied up names that of a frozen one.
  Result<bool> owns(Ino ino, StagedId id) const;
  /// What the layers below the writable one say of an inode.
  Result<std::optional<Inode>> frozen(Ino ino) const;
  /// The inode has no link and nobody has it open: its bytes may go, unless a frozen layer needs them.
  void drop(Ino ino, const Inode& inode);

  /// Everything that was answered before is on disk when this returns.
  [[nodiscard]] Result<void> sync();
  /// The same for syncfs(2), which also tells of files that could not be synced since it was asked last.
  [[nodiscard]] Result<void> sync_all();
  /// The inode's bytes, record and names are, for fsync(2) of it. Waits for the log only if these changed since it was
  /// synced.
  [[nodiscard]] Result<void> sync(Ino ino);

 private:
  using FilePtr = std::shared_ptr<Staging::File>;
  struct Written {
    FilePtr file;
    bool sparse = false;
  };
  Result<void> look_again(Ino ino, Inode& inode) const;
  bool was_replaced(Ino ino, StagedId id, const Error& error) const;
  Result<FilePtr> own_file(Ino ino, const LayerReader::Located& located);
  Result<Written> written_body(Ino ino, std::uint64_t keep = UINT64_MAX);
  Result<Written> copy_up(Ino ino, Inode inode, std::uint64_t keep);
  /// Not where somebody counts: a file of a clone with a quota takes its full size from the first write on, as it does
  /// once it is settled.
  bool may_be_sparse(std::uint64_t size) const { return size > kWholeCopy && !quota_->limited(); }
  Result<StagedBase> fill(Staging::File& file, Ino ino, Inode& inode, std::uint64_t size);
  Result<StagedBase> copy_staged(Staging::File& file, const Inode& inode, std::uint64_t size);
  Result<std::size_t> write_sparse(Ino ino, Staging::File& file, ByteParts data, std::uint64_t offset);
  void remove_dropped(const std::vector<StagedId>& dropped);
  void note_written_sparsely(Ino ino, Staging::File& file, std::size_t bytes) EXCLUDES(mutex_);
  bool clean_up() EXCLUDES(mutex_);  ///< whether there is more
  bool is_ending() EXCLUDES(mutex_);
  void complete_next() EXCLUDES(mutex_);

  WritableTree& tree_;
  Staging& staging_;
  tier::Tier& tier_;
  cas::Database& database_;
  const std::shared_ptr<CloneQuota> quota_;
  SparseBodies sparse_;
  WriteGate gate_;
  static constexpr std::uint64_t kCompletedAtOnce = 64u << 20;  // then the disk is left to others for a second
  // By inode number: one copy-up of a file at a time; held over the copying. Settling tries and does not wait.
  std::array<std::mutex, 64> copying_;

  Mutex mutex_;
  std::vector<StagedId> dropped_ GUARDED_BY(mutex_);  // to be removed after the next sync
  struct Incomplete {
    Ino ino = 0;
    StagedId file = 0;
    std::uint64_t from = 0;
  };
  std::deque<Incomplete> incomplete_ GUARDED_BY(mutex_);
  bool ending_ GUARDED_BY(mutex_) = false;
  std::atomic<std::uint64_t> failures_told_;  // of Staging::failures, by sync_all
  std::unique_ptr<Chores::Chore> cleaning_;   // last
};

/// The same for readers that have no clone: a record of any layer.
[[nodiscard]] Result<void> refresh_staged(Staging& staging, Inode& inode);

}  // namespace stellarium::fs
