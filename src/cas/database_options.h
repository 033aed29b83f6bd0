#pragma once
#include <rocksdb/env.h>
#include <rocksdb/options.h>

#include "cas/database.h"

namespace stellarium::cas {

/// The engine's settings, shared by the open database and by tables that are built beside it
/// (docs/formats/database.md gives the reason for each).
class EngineSettings {
 public:
  explicit EngineSettings(const Database::Options& options);

  rocksdb::DBOptions database() const { return database_; }
  rocksdb::ColumnFamilyOptions family(const Family& family) const;
  std::size_t cache_usage() const;
  void set_named_files(NamedFiles* files) const;

 private:
  std::shared_ptr<rocksdb::Cache> cache_;
  std::shared_ptr<const rocksdb::FilterPolicy> filter_;
  std::size_t write_buffer_bytes_;
  std::shared_ptr<class TablesAfterFiles> tables_after_files_;
  std::shared_ptr<rocksdb::Env> env_;
  rocksdb::DBOptions database_;
};

}  // namespace stellarium::cas
