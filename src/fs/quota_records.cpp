#include "fs/quota_records.h"

#include <cassert>

#include "base/bytes.h"
#include "fs/families.h"

namespace stellarium::fs {

std::string encode_quota(const QuotaRecord& record) {
  assert(record.limit != 0);
  std::string out;
  put_varint(out, record.limit);
  put_varint(out, record.project);
  return out;
}

Result<QuotaRecord> decode_quota(std::string_view value) {
  ByteReader in{as_bytes(value)};
  QuotaRecord record;
  record.limit = in.varint();
  const std::uint64_t project = in.varint();
  if (!in.ok() || in.left() != 0) return fail(Errc::corrupt, "quota record: cut short, or too long");
  if (record.limit == 0) return fail(Errc::corrupt, "quota record: a limit of nothing");
  if (project > UINT32_MAX) return fail(Errc::corrupt, "quota record: an impossible project");
  record.project = static_cast<std::uint32_t>(project);
  return record;
}

Result<std::optional<QuotaRecord>> read_quota(const cas::Database& database, const std::string& clone) {
  const auto value = database.get(kQuotaFamily, clone);
  if (!value) return fail(value.error());
  if (!*value) return std::nullopt;
  const auto record = decode_quota(**value);
  if (!record) return fail(record.error(), "clone " + clone);
  return *record;
}

void put_quota(cas::Database::Batch& batch, const std::string& clone, const std::optional<QuotaRecord>& record) {
  if (record) {
    batch.put(kQuotaFamily, clone, encode_quota(*record));
  } else {
    batch.erase(kQuotaFamily, clone);
  }
}

Result<void> move_quota(const cas::Database& database, cas::Database::Batch& batch, const std::string& from,
                        const std::string& to) {
  const auto record = read_quota(database, from);
  if (!record) return fail(record.error());
  if (!*record) return {};
  put_quota(batch, from, std::nullopt);
  put_quota(batch, to, *record);
  return {};
}

Result<bool> is_project_taken(const cas::Database& database, std::uint32_t project) {
  const auto cursor = database.scan(kQuotaFamily, {}, {});
  for (; cursor->valid(); cursor->next()) {
    const auto record = decode_quota(cursor->value());
    if (!record) return fail(record.error(), std::string{cursor->key()});
    if (record->project == project) return true;
  }
  if (const Result<void> status = cursor->status(); !status) return fail(status.error());
  return false;
}

}  // namespace stellarium::fs
