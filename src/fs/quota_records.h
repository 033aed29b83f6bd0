#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cas/database.h"

namespace stellarium::fs {

/// How much a clone may hold of its own (docs/formats/records.md, family `quota`).
struct QuotaRecord {
  std::uint64_t limit = 0;    ///< bytes, at least 1
  std::uint32_t project = 0;  ///< of the host's project quotas; 0: the host has none
  bool operator==(const QuotaRecord&) const = default;
};
std::string encode_quota(const QuotaRecord& record);
Result<QuotaRecord> decode_quota(std::string_view value);

/// Nothing: the clone has none.
Result<std::optional<QuotaRecord>> read_quota(const cas::Database& database, const std::string& clone);
void put_quota(cas::Database::Batch& batch, const std::string& clone, const std::optional<QuotaRecord>& record);
/// The clone gets another name.
Result<void> move_quota(const cas::Database& database, cas::Database::Batch& batch, const std::string& from,
                        const std::string& to);
/// Whether a clone has this project.
Result<bool> is_project_taken(const cas::Database& database, std::uint32_t project);

}  // namespace stellarium::fs
