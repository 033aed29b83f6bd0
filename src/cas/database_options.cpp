#include "cas/database_options.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/write_buffer_manager.h>

#include <mutex>
#include <shared_mutex>

namespace stellarium::cas {
namespace {

// A strict cache refuses a block that does not fit into its shard, and the read then fails: shards stay far larger than
// the largest block (16 KiB of data, 16 KiB of a partitioned index or filter).
int shard_bits(std::size_t cache_bytes) {
  constexpr std::size_t kShardBytes = 4u << 20;
  int bits = 0;
  while (bits < 4 && (cache_bytes >> (bits + 1)) >= kShardBytes) ++bits;
  return bits;
}

/// RocksDB's own logger aborts the process when the disk is full (an assert in 7.8.3), and its files would count as
/// stored bytes. What matters comes back as a status anyway.
class NoLog final : public rocksdb::Logger {
 public:
  NoLog() : Logger{rocksdb::InfoLogLevel::FATAL_LEVEL} {}
  using Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
  void LogHeader(const char* /*format*/, va_list /*arguments*/) override {}
};

/// Writing the file of options, reading it back and comparing is most of what an open takes. Nobody reads it later: the
/// options are these here. The engine goes on without it (fail_if_options_file_error is off).
class NoOptionsFile final : public rocksdb::FileSystemWrapper {
 public:
  NoOptionsFile() : FileSystemWrapper{rocksdb::FileSystem::Default()} {}
  const char* Name() const override { return "NoOptionsFile"; }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* context) override {
    if (name.compare(name.rfind('/') + 1, 8, "OPTIONS-") == 0) return rocksdb::IOStatus::NotSupported();
    return target()->NewWritableFile(name, options, file, context);
  }
};

/// After a failed write the process begins anew (Database::stopped). The engine's own recovery from a full disk would
/// write tables meanwhile, and in 7.8.3 ends in an assertion where that fails too; that from a failed compaction only
/// tries again.
class NoRecovery final : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason reason, rocksdb::Status /*error*/, bool* recover) override {
    if (reason != rocksdb::BackgroundErrorReason::kCompaction) *recover = false;
  }
};

}  // namespace

/// The engine writes tables when it likes, on its own threads.
class TablesAfterFiles final : public rocksdb::EventListener {
 public:
  void set(NamedFiles* files) {
    const std::unique_lock lock{lock_};
    files_ = files;
  }
  void OnFlushBegin(rocksdb::DB* /*db*/, const rocksdb::FlushJobInfo& /*job*/) override {
    const std::shared_lock lock{lock_};
    if (files_ != nullptr) files_->before_tables();
  }

 private:
  std::shared_mutex lock_;
  NamedFiles* files_ = nullptr;
};

EngineSettings::EngineSettings(const Database::Options& options)
    : cache_{rocksdb::NewLRUCache(options.cache_bytes, shard_bits(options.cache_bytes), /*strict_capacity_limit=*/true,
                                  /*high_pri_pool_ratio=*/0.5)},
      filter_{rocksdb::NewRibbonFilterPolicy(/*bloom_equivalent_bits_per_key=*/10)},
      write_buffer_bytes_{options.write_buffer_bytes},
      tables_after_files_{std::make_shared<TablesAfterFiles>()},
      env_{rocksdb::NewCompositeEnv(std::make_shared<NoOptionsFile>())} {
  database_.env = env_.get();

  // Memory: one budget for all families, whichever is busy.
  database_.write_buffer_manager = std::make_shared<rocksdb::WriteBufferManager>(options.write_buffer_bytes);
  database_.max_open_files = -1;
  database_.max_file_opening_threads = 1;  // more are started for each family, however few tables it has

  // Durability: the log is written through to the page cache with every batch, so that replies survive the death of the
  // process; recovery stops at the first torn record instead of refusing to open or skipping over it.
  database_.manual_wal_flush = false;
  database_.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  database_.max_total_wal_size = 64u << 20;  // a family without writes would pin logs for ever
  database_.paranoid_checks = true;

  database_.listeners.push_back(std::make_shared<NoRecovery>());
  database_.listeners.push_back(tables_after_files_);
  database_.max_bgerror_resume_count = 0;

  // Space: what the engine keeps for itself counts as stored bytes.
  database_.info_log = std::make_shared<NoLog>();
  database_.allow_fallocate = false;  // 18 MiB for each log, which a killed process leaves allocated
  database_.max_manifest_file_size = 1u << 20;
  database_.stats_dump_period_sec = 0;
  database_.stats_persist_period_sec = 0;

  database_.max_background_jobs = 2;
  database_.bytes_per_sync = 1u << 20;  // no burst of writeback in front of somebody's fsync
}

rocksdb::ColumnFamilyOptions EngineSettings::family(const Family& family) const {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache_;
  // A look-up of one key decodes a block; a walk over a prefix reads many, and large ones compress better.
  table.block_size = family.prefix_size == 0 ? 4u << 10 : 16u << 10;
  table.format_version = 5;
  table.filter_policy = filter_;
  table.whole_key_filtering = true;
  table.optimize_filters_for_memory = false;
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  // Partitions keep every index and filter block small, so that a billion keys cost a block per look-up, not a table's
  // filter.
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  table.metadata_block_size = 16u << 10;

  rocksdb::ColumnFamilyOptions options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  if (family.prefix_size != 0) options.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(family.prefix_size));
  if (family.mostly_absent) {  // 20 bits a record in 330 KiB, which each open sets to zero
    options.memtable_prefix_bloom_size_ratio = 0.02;
    options.memtable_whole_key_filtering = family.prefix_size == 0;
  }
  if (family.prefix_size == 0) {
    // Hashes, written in order: the search for each one's place begins at the one before with the same first byte.
    options.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewCappedPrefixTransform(1));
  }
  // Level 6 makes tables 1 to 2 % smaller, and takes a sixth of what an import of known files takes.
  options.compression = rocksdb::kZSTD;
  options.compression_opts.level = 1;
  options.level_compaction_dynamic_level_bytes = true;
  // All families share one budget.
  options.write_buffer_size = write_buffer_bytes_ / 2;
  options.arena_block_size = write_buffer_bytes_ / 128;
  options.max_write_buffer_number = 2;
  options.target_file_size_base = 64u << 20;
  return options;
}

void EngineSettings::set_named_files(NamedFiles* files) const {
  tables_after_files_->set(files);
}

std::size_t EngineSettings::cache_usage() const {
  return cache_->GetUsage();
}

}  // namespace stellarium::cas
