#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/server/json.h"
#include "tools/server/store.h"

// Quotas of clones, mounted or not: the record, and what goes by it.
namespace stellarium::server {

struct QuotaState {
  std::optional<std::uint64_t> limit;  ///< bytes; nothing: the clone has no quota
  std::uint64_t used = 0;              ///< bytes that count
  bool by_host = false;                ///< the host's project quotas keep it
};
/// Errors: not_found. Cost: one walk over what the clone wrote, unless it is mounted and has a quota.
Result<QuotaState> quota_of(Store& store, const std::string& clone);
std::string to_text(const QuotaState& state);
void put_quota(Json& object, const QuotaState& state);  ///< "used", "limit", "kept_by"

/// Records it, and tells the mount. Nothing: none from now on. Returns how many files programs have open and may go on
/// to write unseen until they close them; 0 where the host keeps the quota. Errors: not_found.
Result<std::size_t> set_quota(Store& store, const std::string& clone, std::optional<std::uint64_t> limit);
/// Records for new clones.
Result<std::vector<fs::QuotaRecord>> new_quotas(Store& store, std::uint64_t limit, std::size_t count);
/// After a snapshot of it: what the snapshot has counts no more.
Result<void> recount(Store& store, const std::string& clone);
/// The clone is gone.
void forget_quota(Store& store, const fs::QuotaRecord& record);

/// A limit as a person writes it. Errors: invalid_argument (no size, or below 1 MiB).
Result<std::uint64_t> parse_limit(const std::string& text);

}  // namespace stellarium::server
