#pragma once
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/byte_parts.h"
#include "base/mutex.h"
#include "fs/headroom.h"
#include "fs/own_records.h"
#include "fs/project_quotas.h"
#include "fs/quota_records.h"
#include "fs/staging.h"
#include "fs/writable_tree.h"

namespace stellarium::fs {

/// How much a mounted clone may write: its quota, if it has one, and what the host has room for.
///
/// What counts: the host's blocks of the staged files of its writable layer, and the weight of that layer's records
/// (OwnRecords). So a snapshot counts for nobody: a clone begins with nothing after it.
/// Where the host has project quotas, the kernel counts and limits the staged files, also those that programs write
/// without us; elsewhere no file of a clone with a quota is passed through, and this object knows what each takes.
///
/// Removing is never refused, nor is what needs no room: writing over blocks that are there, holes, renaming.
/// Threads: all functions may be called concurrently. Errors: out_of_space with EDQUOT or ENOSPC; corrupt, io.
/// Cost:    without a quota one or two loads. With one, some look-ups a change; memory for a number per staged file.
class CloneQuota {
 public:
  struct Parts {
    const cas::Database& database;
    Staging& staging;
    Headroom* headroom = nullptr;         ///< may be missing
    const ProjectQuotas* host = nullptr;  ///< null: the host has none
    const WritableTree& tree;
  };
  explicit CloneQuota(const Parts& parts) : parts_{parts} {}

  /// What the record says, at once. Counts what is there: one walk over the writable layer.
  [[nodiscard]] Result<void> set(const std::optional<QuotaRecord>& record) EXCLUDES(mutex_);
  /// After a snapshot: what it took counts no more.
  [[nodiscard]] Result<void> recount() EXCLUDES(mutex_);

  bool limited() const { return limit_.load(std::memory_order_relaxed) != kNone; }
  /// Whether a file may be written behind our back from now on.
  bool may_pass_through() const {
    return (!limited() || project_ != 0) && (parts_.headroom == nullptr || !parts_.headroom->is_short());
  }
  struct Usage {
    std::uint64_t limit = 0, used = 0;  ///< bytes; without a quota both are 0
  };
  Result<Usage> usage() EXCLUDES(mutex_);

  // Names and attributes.

  /// Records of so many bytes are about to be made.
  [[nodiscard]] Result<void> admit(std::uint64_t bytes) EXCLUDES(mutex_);
  /// Weighs inodes before and after a change of their records. One change of a clone at a time, if it has a quota.
  class Weighing {
   public:
    Weighing(CloneQuota* quota, std::initializer_list<Ino> inodes);  ///< `quota` may be null
    Weighing(const Weighing&) = delete;
    Weighing& operator=(const Weighing&) = delete;
    ~Weighing();
    explicit operator bool() const { return static_cast<bool>(lock_); }  ///< whether anything is weighed
    void add(Ino ino);                                                   ///< one that changes, too
    void add(Ino parent, std::string_view name);
    void add_made(Ino ino);  ///< that was not there before

   private:
    CloneQuota* quota_ = nullptr;
    std::unique_lock<std::mutex> lock_;
    std::vector<Ino> inodes_;
    std::uint64_t before_ = 0;
  };

  // Staged files, which the clone's writable layer has, or is about to have.

  /// A new one, before anything is in it.
  [[nodiscard]] Result<void> made(const StagedFile& file);
  void gone(StagedId id) EXCLUDES(mutex_);
  /// write(2), in one piece or as much as fits.
  [[nodiscard]] Result<std::size_t> write(const StagedFile& file, ByteParts data, std::uint64_t offset)
      EXCLUDES(mutex_);
  [[nodiscard]] Result<std::size_t> write(const StagedFile& file, ByteSpan data, std::uint64_t offset) {
    return write(file, ByteParts{&data, 1}, offset);
  }
  /// fallocate(2) of the modes that neither collapse nor insert.
  [[nodiscard]] Result<void> allocate(const StagedFile& file, int mode, std::uint64_t offset, std::uint64_t length)
      EXCLUDES(mutex_);
  [[nodiscard]] Result<void> truncate(const StagedFile& file, std::uint64_t size) EXCLUDES(mutex_);
  /// Room that is kept for a copy while it is made.
  class Reservation {
   public:
    static Result<Reservation> make(CloneQuota* quota, std::uint64_t bytes);  ///< `quota` may be null
    Reservation(Reservation&& other) noexcept : quota_{std::exchange(other.quota_, nullptr)}, bytes_{other.bytes_} {}
    ~Reservation();
    /// The copy is whole. Errors: EDQUOT if it took more than there was; it is to go then.
    [[nodiscard]] Result<void> filled(const StagedFile& file);

   private:
    Reservation(CloneQuota* quota, std::uint64_t bytes) : quota_{quota}, bytes_{bytes} {}
    CloneQuota* quota_;
    std::uint64_t bytes_;
  };

 private:
  static constexpr std::uint64_t kNone = UINT64_MAX;

  Result<void> admit_on_host(int fd, std::uint64_t offset, std::uint64_t size);
  [[nodiscard]] Result<void> count() REQUIRES(mutex_);
  Result<void> count_project(const OwnRecords& records, const OwnRecords::Total& total);
  Result<void> recount_if_frozen() REQUIRES(mutex_);
  void weigh(std::int64_t difference) EXCLUDES(mutex_);
  [[nodiscard]] Result<void> limit_host();
  std::uint64_t records() const;
  Result<std::uint64_t> used() REQUIRES(mutex_);
  Result<std::uint64_t> left() REQUIRES(mutex_);
  void measure(const StagedFile& file) REQUIRES(mutex_);
  void note(StagedId id, std::uint64_t bytes) REQUIRES(mutex_);
  tl::unexpected<Error> over() const;

  const Parts parts_;
  std::atomic<std::uint64_t> limit_ = kNone;
  std::atomic<std::uint32_t> project_ = 0;
  std::atomic<std::int64_t> records_ = 0;   // their weight
  std::atomic<std::uint64_t> granted_ = 0;  // of it, what the host's limit leaves room for
  std::mutex weighing_;                     // held over a change of records, if the clone has a quota
  Mutex mutex_;                             // held over the writing of staged files, if it is we who limit it
  LayerId counted_ GUARDED_BY(mutex_) = 0;  // the layer that the following is about
  std::unordered_map<StagedId, std::uint64_t> staged_ GUARDED_BY(mutex_);  // blocks of each, if it is we who count
  std::uint64_t staged_bytes_ GUARDED_BY(mutex_) = 0, reserved_ GUARDED_BY(mutex_) = 0;
};

}  // namespace stellarium::fs
