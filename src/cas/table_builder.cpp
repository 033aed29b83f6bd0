#include "cas/table_builder.h"

#include "cas/database_status.h"

namespace stellarium::cas {

SstTableBuilder::SstTableBuilder(const EngineSettings& settings, const Family& family, std::string file)
    : file_{std::move(file)},
      writer_{rocksdb::EnvOptions{}, rocksdb::Options{settings.database(), settings.family(family)}} {}

Result<std::unique_ptr<Database::TableBuilder>> SstTableBuilder::create(const EngineSettings& settings,
                                                                        const Family& family,
                                                                        const std::filesystem::path& file) {
  std::unique_ptr<SstTableBuilder> builder{new SstTableBuilder{settings, family, file.string()}};
  if (const rocksdb::Status status = builder->writer_.Open(builder->file_); !status.ok())
    return fail_status(status, "making table " + builder->file_);
  return builder;
}

Result<void> SstTableBuilder::add(std::string_view key, std::string_view value) {
  if (const rocksdb::Status status = writer_.Put(rocksdb::Slice{key}, rocksdb::Slice{value}); !status.ok())
    return fail_status(status, "writing table " + file_);
  ++entries_;
  return {};
}

Result<void> SstTableBuilder::finish() {
  if (const rocksdb::Status status = writer_.Finish(); !status.ok())
    return fail_status(status, "finishing table " + file_);
  return {};
}

}  // namespace stellarium::cas
