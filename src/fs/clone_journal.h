#pragma once
#include <optional>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/names_journal.h"

// What the names journal says of clones and snapshots. Their records are in the database only; so that it is known by
// name what a lost database takes along, the journal has their names (docs/formats/names-journal.md).
namespace stellarium::fs {

/// Of each clone or snapshot that a batch makes or removes; nothing for those that it only changes. Not yet numbered.
Result<std::vector<JournalRecord>> clone_records(const cas::Database& database, const cas::Database::Batch& batch);

/// What makes a journal with these records agree with the database.
Result<std::vector<JournalRecord>> missing_clone_records(const cas::Database& database,
                                                         const std::vector<JournalRecord>& records);

/// The records without those of clones and snapshots that are gone, if leaving them out is worth it; else nothing.
std::optional<std::vector<JournalRecord>> without_gone_clones(const std::vector<JournalRecord>& records);

}  // namespace stellarium::fs
