#pragma once
#include <cstddef>
#include <functional>

#include "base/result.h"
#include "cas/database.h"
#include "fs/staging.h"

namespace stellarium::fs {

/// Removes the staged files of earlier runs that no record names, of an inode in writable layers or frozen ones, or of
/// a volume: what a crash left that came between a file and its record, or between a record's end and the file's.
///
/// Once after the store was opened; clones may be in use. Nothing is removed unless every record could be read, and
/// not before the records are durable.
/// Returns how many were removed; fewer, if `go_on` said no on the way.
/// Cost:    one walk over the inodes that clones changed, 1 µs each.
Result<std::size_t> sweep_staged(cas::Database& database, Staging& staging, const std::function<bool()>& go_on);

}  // namespace stellarium::fs
