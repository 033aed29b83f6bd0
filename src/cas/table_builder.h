#pragma once
#include <rocksdb/sst_file_writer.h>

#include <filesystem>
#include <memory>
#include <string>

#include "cas/database.h"
#include "cas/database_options.h"

namespace stellarium::cas {

/// A sorted table in a file of its own, in the engine's format. An unfinished one leaves a file that the caller
/// removes.
class SstTableBuilder final : public Database::TableBuilder {
 public:
  static Result<std::unique_ptr<Database::TableBuilder>> create(const EngineSettings& settings, const Family& family,
                                                                const std::filesystem::path& file);

  Result<void> add(std::string_view key, std::string_view value) override;
  Result<void> finish() override;
  std::uint64_t entries() const override { return entries_; }

 private:
  SstTableBuilder(const EngineSettings& settings, const Family& family, std::string file);

  std::string file_;
  rocksdb::SstFileWriter writer_;
  std::uint64_t entries_ = 0;
};

}  // namespace stellarium::cas
