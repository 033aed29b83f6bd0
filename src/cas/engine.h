#pragma once
#include <rocksdb/db.h>

#include <memory>
#include <string_view>
#include <vector>

#include "cas/database.h"
#include "cas/database_options.h"

namespace stellarium::cas {

inline rocksdb::Slice slice(std::string_view text) {
  return {text.data(), text.size()};
}

/// The open RocksDB with its family handles. Database and every Cursor share it, so that it closes after the last of
/// them: RocksDB aborts when it is closed under a live iterator.
class Engine {
 public:
  Engine(const EngineSettings& settings, std::unique_ptr<rocksdb::DB> db,
         std::vector<rocksdb::ColumnFamilyHandle*> handles);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  rocksdb::DB& db() const { return *db_; }
  const EngineSettings& settings() const { return settings_; }
  const std::vector<rocksdb::ColumnFamilyHandle*>& handles() const { return handles_; }
  /// A family that was not named at open is a bug of the caller.
  rocksdb::ColumnFamilyHandle* handle(const Family& family) const;

 private:
  EngineSettings settings_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
};

/// A walk over [lower, upper) of `family`; uses the prefix filters when the whole range shares one prefix.
std::unique_ptr<Database::Cursor> make_cursor(std::shared_ptr<const Engine> engine, std::string_view from,
                                              const Family& family, std::string_view lower, std::string_view upper);

}  // namespace stellarium::cas
