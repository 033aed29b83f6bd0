#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace stellarium::cas {

/// One column family of the store's database. Who uses a family owns one constant of it (cas/families.h,
/// fs/families.h).
struct Family {
  const char* name;  ///< as stored; never changes
  /// Bytes of the key that scans and look-ups share, for prefix filters; 0: whole key only.
  std::uint8_t prefix_size = 0;
  /// Most look-ups ask for what is not there: then the newest records, which are in memory, have a filter, too.
  bool mostly_absent = false;
};

/// Files outside the database that its records name (fs/staged_first.h). No record may be on the disk before the bytes
/// of the files that it names.
/// Threads: called concurrently.
class NamedFiles {
 public:
  virtual ~NamedFiles() = default;
  /// Makes the files durable, then calls `sync_log` while no record can enter the log that names others.
  [[nodiscard]] virtual Result<void> sync_before(const std::function<Result<void>()>& sync_log) = 0;
  /// Records of the log up to now go into tables, which are synced by themselves. Nobody can be told of a failure.
  virtual void before_tables() = 0;
};

/// The only door to RocksDB: one database for the whole store, with the settings of docs/formats/database.md.
///
/// Keys and values are bytes; families with big-endian keys iterate in numeric order.
/// Threads: all functions may be called concurrently; a Cursor and a Batch belong to one thread at a time.
/// Errors:  corrupt (a block failed its checksum), out_of_space, io. After a failed write or sync, for want of space
///          too, the database refuses further writes until it is opened again (fail-stop): what was not acknowledged is
///          decided anew from recovered state. Reads go on.
class Database {
 public:
  struct Options {
    std::size_t cache_bytes = 64u << 20;         ///< one strict cache for blocks, indexes and filters
    std::size_t write_buffer_bytes = 32u << 20;  ///< all families together
    bool read_only = false;
  };
  /// Several changes that happen together or not at all.
  class Batch {
   public:
    struct Change {
      const Family* family;
      std::string key, value;
      bool erased;
    };
    void put(const Family& family, std::string_view key, std::string_view value);
    void erase(const Family& family, std::string_view key);
    bool empty() const { return changes_.empty(); }
    std::size_t bytes() const { return bytes_; }
    const std::vector<Change>& changes() const { return changes_; }

   private:
    std::vector<Change> changes_;
    std::size_t bytes_ = 0;
  };
  enum class Sync { no, yes };  ///< yes: durable when the call returns

  /// Ascending walk over one family as it was when the cursor was made.
  class Cursor {
   public:
    virtual ~Cursor() = default;
    virtual void seek(std::string_view key) = 0;  ///< to the first key ≥ `key`
    virtual bool valid() const = 0;               ///< false at the end, and after an error: ask status()
    virtual void next() = 0;
    virtual std::string_view key() const = 0;
    virtual std::string_view value() const = 0;
    [[nodiscard]] virtual Result<void> status() const = 0;
  };
  /// Writes one sorted table file outside the database; `ingest` then takes it in without rewriting it.
  class TableBuilder {
   public:
    virtual ~TableBuilder() = default;
    [[nodiscard]] virtual Result<void> add(std::string_view key,
                                           std::string_view value) = 0;  ///< strictly ascending keys
    [[nodiscard]] virtual Result<void> finish() = 0;
    virtual std::uint64_t entries() const = 0;
  };

  static Result<std::unique_ptr<Database>> open(const std::filesystem::path& dir,
                                                std::span<const Family* const> families, const Options& options);
  virtual ~Database() = default;

  [[nodiscard]] virtual Result<std::optional<std::string>> get(const Family& family, std::string_view key) const = 0;
  [[nodiscard]] virtual Result<void> write(Batch&& batch, Sync sync) = 0;
  /// Makes every earlier write durable (one WAL sync, shared by all callers that wait for it).
  [[nodiscard]] virtual Result<void> sync() = 0;
  /// The number in the log of the last write so far. Of a write that has returned, it is not below that one's.
  virtual std::uint64_t written() const = 0;
  /// What `written` said before some sync that has succeeded: everything up to it is on the disk. 0 before the first.
  virtual std::uint64_t durable() const = 0;
  /// A walk over the keys of [lower, upper); an empty `upper` means to the end of the family.
  std::unique_ptr<Cursor> scan(const Family& family, std::string_view lower, std::string_view upper) const {
    return scan_from(lower, family, lower, upper);
  }
  /// The same, placed at `from` in it to begin with: for a short walk, going there from `lower` is half the cost.
  virtual std::unique_ptr<Cursor> scan_from(std::string_view from, const Family& family, std::string_view lower,
                                            std::string_view upper) const = 0;

  [[nodiscard]] virtual Result<std::unique_ptr<TableBuilder>> build_table(const Family& family,
                                                                          const std::filesystem::path& file) = 0;
  struct Tables {
    const Family* family;
    std::vector<std::filesystem::path> files;
  };
  /// Moves finished tables into their families, all or none. In a family their keys must not overlap one another or
  /// anything present.
  [[nodiscard]] virtual Result<void> ingest(std::span<const Tables> tables) = 0;
  /// Removes every key of [lower, upper): point deletes below 1,024 keys, one range delete and a flush above.
  [[nodiscard]] virtual Result<void> erase_range(const Family& family, std::string_view lower,
                                                 std::string_view upper) = 0;

  /// Files that records name: what has to reach the disk before they do, whoever causes that and by whatever way. At
  /// most one at a time; null: none. When this returns, an earlier one is not called any more.
  virtual void set_named_files(NamedFiles* files) = 0;
  virtual bool has_named_files() const = 0;

  /// Called once when the database stops taking writes, on the thread whose write failed. When this returns, an earlier
  /// hook does not run any more.
  virtual void set_on_stopped(std::function<void()> hook) = 0;
  virtual bool stopped() const = 0;

  [[nodiscard]] virtual Result<void> flush() = 0;
  [[nodiscard]] virtual Result<void> compact() = 0;
  /// A consistent copy in `dir` (hard links where possible); used for checkpoints.
  [[nodiscard]] virtual Result<void> checkpoint(const std::filesystem::path& dir) = 0;
  /// Reads every block and compares checksums.
  [[nodiscard]] virtual Result<void> verify() = 0;
  struct Stats {
    std::uint64_t table_bytes = 0, memory_bytes = 0, wal_bytes = 0;
  };
  virtual Stats stats() const = 0;
  static std::string_view engine_version();
};

}  // namespace stellarium::cas
