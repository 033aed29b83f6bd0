#pragma once
#include <rocksdb/status.h>

#include <string>

#include "base/result.h"

namespace stellarium::cas {

/// RocksDB's verdict as one of ours; `doing` says which family or file it was about.
[[nodiscard]] tl::unexpected<Error> fail_status(const rocksdb::Status& status, const std::string& doing);

}  // namespace stellarium::cas
