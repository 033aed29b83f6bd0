#include "fs/staged_first.h"

#include "base/log.h"

namespace stellarium::fs {

StagedFirst::StagedFirst(cas::Database& database, Staging& staging) : database_{database}, staging_{staging} {
  database_.set_named_files(this);
}

StagedFirst::~StagedFirst() {
  database_.set_named_files(nullptr);
}

Result<void> StagedFirst::sync_before(const std::function<Result<void>()>& sync_log) {
  return staging_.order().sync([this] { return staging_.sync_noted(); }, sync_log);
}

void StagedFirst::before_tables() {
  if (auto synced = staging_.sync_noted(); !synced) log::error("{}", to_string(synced.error()));
}

}  // namespace stellarium::fs
