#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/io.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cas/database.h"
#include "cas/segment_reader.h"
#include "cas/segment_table.h"
#include "cas/segment_writer.h"

namespace stellarium::cas {

/// The files of the segments folder and their records: hands out writers and readers, retires and removes segments.
///
/// Life of a file: record {open, 0} synced → file made → appended to, durable size raised with every commit → footer,
///                 record finished → (gc) record condemned, synced → file removed → record removed. Every step can be
///                 the last one before a crash; `open` then finishes what was begun.
/// Threads: all functions may be called concurrently.
/// Borrows: `database` and `io` for as long as it lives.
class SegmentSet {
 public:
  /// Opens the folder (made if missing), cuts torn tails above the durable size, ends half-done removals.
  /// Damage below the durable size does not stop it: nothing is appended to such a segment, what can be read of it
  /// still is.
  static Result<std::unique_ptr<SegmentSet>> open(Database& database, Io& io, const std::filesystem::path& dir,
                                                  const StoreId& store);

  /// A writer that nobody else has: one that was given back, or a new segment.
  [[nodiscard]] Result<SegmentWriter> take_writer() EXCLUDES(mutex_);
  /// Returns a writer. An unfinished one goes to the next who asks; a failed one is dropped: its segment ends at its
  /// durable size.
  void give_back(SegmentWriter writer) EXCLUDES(mutex_);
  /// Finishes the writers that nobody has, if they have at least `least` bytes. Smaller ones go on at the next open.
  [[nodiscard]] Result<void> finish_idle(std::uint64_t least) EXCLUDES(mutex_);

  /// A reader of any segment that has a file. Errors: not_found, corrupt, version, io.
  [[nodiscard]] Result<std::shared_ptr<const SegmentReader>> reader(std::uint32_t number) EXCLUDES(mutex_);
  /// Its containers: from the footer, or by walking up to the durable size. Errors: corrupt, io.
  [[nodiscard]] Result<std::vector<SegmentEntry>> containers(std::uint32_t number);

  /// A segment that nobody appends to, kept that way until this object goes.
  class Hold {
   public:
    Hold(Hold&& other) noexcept;
    Hold& operator=(Hold&&) = delete;
    ~Hold();
    std::uint32_t number() const { return number_; }

   private:
    friend class SegmentSet;
    Hold(SegmentSet& set, std::uint32_t number, std::optional<SegmentWriter> writer);
    SegmentSet* set_;
    std::uint32_t number_;
    std::optional<SegmentWriter> writer_;  // of an unfinished segment
  };
  /// Nothing if a session has it, or if there is no such segment.
  std::optional<Hold> hold(std::uint32_t number) EXCLUDES(mutex_);
  /// Frees containers whose chunks the index has durably forgotten. Returns the bytes given back to the file system.
  [[nodiscard]] Result<std::uint64_t> free(const Hold& hold, std::span<const SegmentEntry> dead);
  /// Removes a segment that nothing in the (synced) index refers to. Returns the bytes that its file took.
  [[nodiscard]] Result<std::uint64_t> remove(Hold hold) EXCLUDES(mutex_);

  /// Files that no record names: this database is older than they are (or empty: rebuild).
  [[nodiscard]] Result<std::vector<std::uint32_t>> unknown_files() const;

  SegmentTable& table() { return table_; }
  const SegmentTable& table() const { return table_; }
  const StoreId& store() const { return store_; }

 private:
  SegmentSet(Database& database, Io& io, std::filesystem::path dir, UniqueFd dir_fd, const StoreId& store);
  Result<void> recover() EXCLUDES(mutex_);
  Result<void> recover_open(std::uint32_t number, const SegmentRecord& record) EXCLUDES(mutex_);
  Result<void> remove_file(std::uint32_t number) EXCLUDES(mutex_);
  void cut_tail(std::uint32_t number) EXCLUDES(mutex_);
  void release(std::uint32_t number, std::optional<SegmentWriter> writer) EXCLUDES(mutex_);
  Result<std::vector<std::uint32_t>> files() const;
  Result<void> write_record(std::uint32_t number, const SegmentRecord& record, Database::Sync sync);

  Database& database_;
  Io& io_;
  const std::filesystem::path dir_;
  const UniqueFd dir_fd_;
  const StoreId store_;
  SegmentTable table_;

  mutable Mutex mutex_;
  std::uint32_t next_number_ GUARDED_BY(mutex_) = 1;
  std::set<std::uint32_t> in_use_ GUARDED_BY(mutex_);   // somebody has its writer or a Hold
  std::vector<SegmentWriter> idle_ GUARDED_BY(mutex_);  // the last one that was given back goes out first
  std::map<std::uint32_t, std::shared_ptr<const SegmentReader>> readers_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::cas
