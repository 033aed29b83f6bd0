#pragma once
#include <functional>

#include "base/result.h"
#include "cas/database.h"
#include "fs/staging.h"

namespace stellarium::fs {

/// Keeps the records of a database behind the staged files that they name, for as long as it lives: whoever syncs the
/// log, for whatever reason, syncs noted files first (sync_order.h), and so does the engine before it writes tables.
///
/// A file whose bytes cannot be synced does not hold up everybody else: Staging remembers it, and its own syncs fail.
class StagedFirst final : public cas::NamedFiles {
 public:
  StagedFirst(cas::Database& database, Staging& staging);
  StagedFirst(const StagedFirst&) = delete;
  StagedFirst& operator=(const StagedFirst&) = delete;
  ~StagedFirst() override;

  Result<void> sync_before(const std::function<Result<void>()>& sync_log) override;
  void before_tables() override;

 private:
  cas::Database& database_;
  Staging& staging_;
};

}  // namespace stellarium::fs
