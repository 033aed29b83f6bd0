#include "cas/database.h"

#include <rocksdb/convenience.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/version.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <shared_mutex>

#include "base/mutex.h"
#include "cas/database_status.h"
#include "cas/engine.h"
#include "cas/table_builder.h"

namespace stellarium::cas {
namespace {

class RocksDatabase final : public Database {
 public:
  RocksDatabase(std::shared_ptr<Engine> engine, bool read_only) : engine_{std::move(engine)}, read_only_{read_only} {}
  ~RocksDatabase() override {
    // A clean stop leaves no log behind: stored size is counted after it, and the next open has nothing to replay.
    if (!read_only_ && !stopped_) (void)flush();
  }

  Result<std::optional<std::string>> get(const Family& family, std::string_view key) const override;
  Result<void> write(Batch&& batch, Sync sync) override;
  Result<void> sync() override EXCLUDES(sync_mutex_);
  std::uint64_t written() const override { return db().GetLatestSequenceNumber(); }
  std::uint64_t durable() const override { return durable_; }
  std::unique_ptr<Cursor> scan_from(std::string_view from, const Family& family, std::string_view lower,
                                    std::string_view upper) const override {
    return make_cursor(engine_, from, family, lower, upper);
  }
  Result<std::unique_ptr<TableBuilder>> build_table(const Family& family, const std::filesystem::path& file) override {
    return SstTableBuilder::create(engine_->settings(), family, file);
  }
  Result<void> ingest(std::span<const Tables> tables) override;
  Result<void> erase_range(const Family& family, std::string_view lower, std::string_view upper) override;
  Result<void> flush() override;
  Result<void> compact() override;
  Result<void> checkpoint(const std::filesystem::path& dir) override;
  Result<void> verify() override;
  Stats stats() const override;
  void set_on_stopped(std::function<void()> hook) override EXCLUDES(hook_mutex_) {
    MutexLock lock{hook_mutex_};
    on_stopped_ = std::move(hook);
  }
  bool stopped() const override { return stopped_; }
  void set_named_files(NamedFiles* files) override {
    engine_->settings().set_named_files(files);
    const std::unique_lock lock{files_lock_};
    named_files_ = files;
  }
  bool has_named_files() const override {
    const std::shared_lock lock{files_lock_};
    return named_files_ != nullptr;
  }

 private:
  Result<void> writable() const;
  Result<void> sync_log() EXCLUDES(sync_mutex_);
  /// Remembers that a write's fate is unknown: an engine that failed to sync may still bring the batch back at the next
  /// open, so going on as if it had not happened would be a lie. Nor does this engine's own recovery from a full disk
  /// always end well: it runs into assertions.
  tl::unexpected<Error> stop(const rocksdb::Status& status, const std::string& doing) EXCLUDES(hook_mutex_);
  rocksdb::DB& db() const { return engine_->db(); }

  std::shared_ptr<Engine> engine_;
  const bool read_only_;
  std::atomic<bool> stopped_ = false;
  std::atomic<bool> full_ = false;        ///< why it stopped
  mutable std::shared_mutex files_lock_;  // shared by whoever syncs
  NamedFiles* named_files_ = nullptr;
  Mutex hook_mutex_;
  std::function<void()> on_stopped_ GUARDED_BY(hook_mutex_);

  // Group commit: one caller syncs for all that asked before it began.
  Mutex sync_mutex_;
  std::condition_variable synced_;
  bool syncing_ GUARDED_BY(sync_mutex_) = false;
  /// Engine sequence number up to which the log is on disk. Changed under sync_mutex_, read by every change of a clone.
  std::atomic<std::uint64_t> durable_ = 0;
};

Result<void> RocksDatabase::writable() const {
  if (read_only_) return fail(Errc::permission, "the database was opened for reading only");
  if (!stopped_) return {};
  if (full_) return fail(Error{Errc::out_of_space, "the database stopped and is being opened again", ENOSPC});
  return fail(Errc::io, "the database stopped after a failed write and is being opened again");
}

tl::unexpected<Error> RocksDatabase::stop(const rocksdb::Status& status, const std::string& doing) {
  auto failure = fail_status(status, doing);
  full_ = failure.value().code == Errc::out_of_space;
  if (stopped_.exchange(true)) return failure;
  MutexLock lock{hook_mutex_};
  if (on_stopped_) on_stopped_();
  return failure;
}

Result<std::optional<std::string>> RocksDatabase::get(const Family& family, std::string_view key) const {
  std::string value;
  const rocksdb::Status status = db().Get(rocksdb::ReadOptions{}, engine_->handle(family), slice(key), &value);
  if (status.IsNotFound()) return std::nullopt;
  if (!status.ok()) return fail_status(status, std::string{"reading family "} + family.name);
  return value;
}

Result<void> RocksDatabase::write(Batch&& batch, Sync sync) {
  if (auto ok = writable(); !ok) return ok;
  if (batch.empty()) return sync == Sync::yes ? this->sync() : Result<void>{};

  rocksdb::WriteBatch changes{batch.bytes() + 16 * batch.changes().size()};
  for (const Batch::Change& change : batch.changes()) {
    rocksdb::ColumnFamilyHandle* const handle = engine_->handle(*change.family);
    const rocksdb::Status status = change.erased ? changes.Delete(handle, slice(change.key))
                                                 : changes.Put(handle, slice(change.key), slice(change.value));
    if (!status.ok()) return fail_status(status, "making a batch");
  }
  if (const rocksdb::Status status = db().Write({}, &changes); !status.ok()) return stop(status, "writing a batch");
  return sync == Sync::yes ? this->sync() : Result<void>{};
}

Result<void> RocksDatabase::sync() {
  if (auto ok = writable(); !ok) return ok;
  const std::shared_lock lock{files_lock_};
  return named_files_ == nullptr ? sync_log() : named_files_->sync_before([this] { return sync_log(); });
}

Result<void> RocksDatabase::sync_log() {
  if (auto ok = writable(); !ok) return ok;
  const std::uint64_t wanted = db().GetLatestSequenceNumber();
  for (;;) {
    {
      MutexLock lock{sync_mutex_};
      while (syncing_ && durable_ < wanted) lock.wait(synced_);
      if (durable_ >= wanted) return {};
      if (stopped_)
        return fail(full_ ? Errc::out_of_space : Errc::io, "the sync of the log that this one waited for failed");
      syncing_ = true;
    }
    const std::uint64_t covered = db().GetLatestSequenceNumber();
    const rocksdb::Status status = db().SyncWAL();
    const auto failed = status.ok() ? Result<void>{} : Result<void>{stop(status, "syncing the log")};
    {
      MutexLock lock{sync_mutex_};
      syncing_ = false;
      if (status.ok()) durable_ = std::max(durable_.load(), covered);
    }
    synced_.notify_all();
    if (!failed) return failed;
  }
}

Result<void> RocksDatabase::ingest(std::span<const Tables> tables) {
  if (auto ok = writable(); !ok) return ok;
  std::vector<rocksdb::IngestExternalFileArg> families;
  for (const auto& [family, files] : tables) {
    if (files.empty()) continue;
    rocksdb::IngestExternalFileArg& one = families.emplace_back();
    one.column_family = engine_->handle(*family);
    for (const auto& file : files) one.external_files.push_back(file.string());
    one.options.move_files = true;
    one.options.write_global_seqno = false;  // leaves the file as it was written
    one.options.snapshot_consistency = false;
  }
  if (families.empty()) return {};
  if (const rocksdb::Status status = db().IngestExternalFiles(families); !status.ok())
    return status.IsIOError() ? stop(status, "taking in tables") : fail_status(status, "taking in tables");
  return {};
}

Result<void> RocksDatabase::erase_range(const Family& family, std::string_view lower, std::string_view upper) {
  constexpr std::size_t kPointDeletes = 1024;  // a range delete slows every look-up down until it is flushed away
  Batch batch;
  std::size_t keys = 0;
  {
    const auto cursor = scan(family, lower, upper);
    for (; cursor->valid() && keys <= kPointDeletes; cursor->next(), ++keys) batch.erase(family, cursor->key());
    if (auto ok = cursor->status(); !ok) return ok;
  }
  if (keys <= kPointDeletes) return write(std::move(batch), Sync::no);

  if (auto ok = writable(); !ok) return ok;
  rocksdb::ColumnFamilyHandle* const handle = engine_->handle(family);
  const std::string doing = std::string{"erasing a range of family "} + family.name;
  std::string last;  // RocksDB has no "to the end"
  if (upper.empty()) {
    std::unique_ptr<rocksdb::Iterator> end{db().NewIterator(rocksdb::ReadOptions{}, handle)};
    end->SeekToLast();
    if (!end->status().ok()) return fail_status(end->status(), doing);
    if (!end->Valid()) return {};
    last = end->key().ToString() + '\0';
    upper = last;
  }
  if (const auto status = db().DeleteRange(rocksdb::WriteOptions{}, handle, slice(lower), slice(upper)); !status.ok())
    return stop(status, doing);
  if (const auto status = db().Flush(rocksdb::FlushOptions{}, handle); !status.ok()) return stop(status, doing);
  const rocksdb::Slice from = slice(lower), to = slice(upper);
  if (const auto status = rocksdb::DeleteFilesInRange(&db(), handle, &from, &to, /*include_end=*/false); !status.ok())
    return fail_status(status, doing);
  return {};
}

Result<void> RocksDatabase::flush() {
  if (auto ok = writable(); !ok) return ok;
  if (const auto status = db().Flush(rocksdb::FlushOptions{}, engine_->handles()); !status.ok())
    return stop(status, "flushing the database");
  return {};
}

Result<void> RocksDatabase::compact() {
  if (auto ok = writable(); !ok) return ok;
  rocksdb::CompactRangeOptions options;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  for (rocksdb::ColumnFamilyHandle* handle : engine_->handles())
    if (const auto status = db().CompactRange(options, handle, nullptr, nullptr); !status.ok())
      return fail_status(status, "compacting family " + handle->GetName());
  return {};
}

Result<void> RocksDatabase::checkpoint(const std::filesystem::path& dir) {
  rocksdb::Checkpoint* made = nullptr;
  rocksdb::Status status = rocksdb::Checkpoint::Create(&db(), &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint{made};
  if (status.ok()) status = checkpoint->CreateCheckpoint(dir.string());
  if (!status.ok()) return fail_status(status, "checkpoint in " + dir.string());
  return {};
}

Result<void> RocksDatabase::verify() {
  if (const auto status = db().VerifyChecksum(); !status.ok()) return fail_status(status, "verifying the database");
  return {};
}

Database::Stats RocksDatabase::stats() const {
  Stats stats;
  const auto sum = [&](const std::string& property) {
    std::uint64_t total = 0;
    for (rocksdb::ColumnFamilyHandle* handle : engine_->handles()) {
      std::uint64_t value = 0;
      if (db().GetIntProperty(handle, property, &value)) total += value;
    }
    return total;
  };
  stats.table_bytes = sum(rocksdb::DB::Properties::kTotalSstFilesSize);
  stats.memory_bytes = sum(rocksdb::DB::Properties::kCurSizeAllMemTables) +
                       sum(rocksdb::DB::Properties::kEstimateTableReadersMem) + engine_->settings().cache_usage();
  rocksdb::VectorLogPtr logs;
  if (db().GetSortedWalFiles(logs).ok())
    for (const auto& log : logs) stats.wal_bytes += log->SizeFileBytes();
  return stats;
}

/// Whether there is a database. Refuses families that are not known to this program, which another version must have
/// made.
Result<bool> check_families(const std::string& dir, const std::vector<rocksdb::ColumnFamilyDescriptor>& known) {
  std::vector<std::string> present;
  const rocksdb::Status status = rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions{}, dir, &present);
  if (status.IsPathNotFound()) return false;
  if (!status.ok()) return fail_status(status, "opening the database " + dir);
  for (const std::string& name : present)
    if (std::none_of(known.begin(), known.end(), [&](const auto& family) { return family.name == name; }))
      return fail(Errc::version, "the database " + dir + " has an unknown family '" + name +
                                     "': it was written by a newer version of this program");
  return true;
}

/// All families in one step: where Open makes them one by one, each gathers the options of all anew. What a crash
/// leaves out, the next Open makes.
rocksdb::Status create(const rocksdb::DBOptions& options, const std::string& dir,
                       const std::vector<rocksdb::ColumnFamilyDescriptor>& descriptors,
                       std::vector<rocksdb::ColumnFamilyHandle*>& handles, rocksdb::DB*& opened) {
  rocksdb::Status status = rocksdb::DB::Open(options, dir, {descriptors.front()}, &handles, &opened);
  if (!status.ok()) return status;
  std::vector<rocksdb::ColumnFamilyHandle*> made;
  status = opened->CreateColumnFamilies({descriptors.begin() + 1, descriptors.end()}, &made);
  handles.insert(handles.end(), made.begin(), made.end());
  if (status.ok()) return status;
  for (rocksdb::ColumnFamilyHandle* handle : handles) opened->DestroyColumnFamilyHandle(handle);
  delete opened;
  return status;
}

}  // namespace

void Database::Batch::put(const Family& family, std::string_view key, std::string_view value) {
  bytes_ += key.size() + value.size();
  changes_.push_back({&family, std::string{key}, std::string{value}, false});
}

void Database::Batch::erase(const Family& family, std::string_view key) {
  bytes_ += key.size();
  changes_.push_back({&family, std::string{key}, {}, true});
}

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& dir,
                                                 std::span<const Family* const> families, const Options& options) {
  const EngineSettings settings{options};
  rocksdb::DBOptions database = settings.database();
  database.create_if_missing = !options.read_only;
  database.create_missing_column_families = !options.read_only;

  // RocksDB insists on its default family; nothing is stored in it.
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors{
      {rocksdb::kDefaultColumnFamilyName, settings.family(Family{"default"})}};
  for (const Family* family : families) descriptors.emplace_back(family->name, settings.family(*family));
  const auto exists = check_families(dir.string(), descriptors);
  if (!exists) return fail(exists.error());

  rocksdb::DB* opened = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const rocksdb::Status status =
      options.read_only ? rocksdb::DB::OpenForReadOnly(database, dir.string(), descriptors, &handles, &opened)
      : *exists         ? rocksdb::DB::Open(database, dir.string(), descriptors, &handles, &opened)
                        : create(database, dir.string(), descriptors, handles, opened);
  if (!status.ok()) {
    auto failure = fail_status(status, "opening the database " + dir.string());
    if (status.IsIOError() && status.ToString().find("lock") != std::string::npos) failure.value().code = Errc::busy;
    return failure;
  }
  auto engine = std::make_shared<Engine>(settings, std::unique_ptr<rocksdb::DB>{opened}, std::move(handles));
  return std::make_unique<RocksDatabase>(std::move(engine), options.read_only);
}

std::string_view Database::engine_version() {
  static const std::string version = "RocksDB " + rocksdb::GetRocksVersionAsString();
  return version;
}

}  // namespace stellarium::cas
