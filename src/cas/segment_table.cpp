#include "cas/segment_table.h"

#include "base/bytes.h"
#include "cas/families.h"

namespace stellarium::cas {
namespace {

constexpr std::uint8_t kRecordVersion = 1;

std::string key_of(std::uint32_t number) {
  std::string key;
  put_be(key, number);
  return key;
}

}  // namespace

std::string encode_segment_record(const SegmentRecord& record) {
  std::string out;
  put_le(out, kRecordVersion);
  put_le(out, static_cast<std::uint8_t>(record.state));
  put_le(out, record.durable_size);
  put_le(out, record.containers);
  put_le(out, record.chunks);
  put_le(out, record.raw_bytes);
  put_le(out, record.freed_bytes);
  return out;
}

Result<SegmentRecord> decode_segment_record(std::string_view value) {
  ByteReader reader{as_bytes(value)};
  if (const auto version = reader.le<std::uint8_t>(); version != kRecordVersion)
    return fail(Errc::version, "a segment record has version " + std::to_string(version) + ", expected " +
                                   std::to_string(kRecordVersion));
  const auto state = reader.le<std::uint8_t>();
  SegmentRecord record;
  record.state = static_cast<SegmentState>(state);
  record.durable_size = reader.le<std::uint64_t>();
  record.containers = reader.le<std::uint32_t>();
  record.chunks = reader.le<std::uint32_t>();
  record.raw_bytes = reader.le<std::uint64_t>();
  record.freed_bytes = reader.le<std::uint64_t>();
  if (!reader.at_end() || state < 1 || state > 3) return fail(Errc::corrupt, "a segment record is malformed");
  return record;
}

Result<void> SegmentTable::load(const Database& database) {
  std::map<std::uint32_t, SegmentRecord> records;
  const auto cursor = database.scan(kSegmentFamily, {}, {});
  for (; cursor->valid(); cursor->next()) {
    ByteReader key{as_bytes(cursor->key())};
    const auto number = key.be<std::uint32_t>();
    if (!key.at_end()) return fail(Errc::corrupt, "the segment table has a malformed key");
    auto record = decode_segment_record(cursor->value());
    if (!record) return fail(std::move(record).error(), "segment " + std::to_string(number));
    records.emplace(number, *record);
  }
  if (auto ok = cursor->status(); !ok) return ok;
  MutexLock lock{mutex_};
  records_ = std::move(records);
  return {};
}

void SegmentTable::stage(Database::Batch& batch, std::uint32_t number, const SegmentRecord& record) {
  batch.put(kSegmentFamily, key_of(number), encode_segment_record(record));
}

void SegmentTable::stage_removal(Database::Batch& batch, std::uint32_t number) {
  batch.erase(kSegmentFamily, key_of(number));
}

void SegmentTable::apply(std::uint32_t number, const SegmentRecord& record) {
  MutexLock lock{mutex_};
  records_[number] = record;
}

void SegmentTable::apply_removal(std::uint32_t number) {
  MutexLock lock{mutex_};
  records_.erase(number);
}

std::optional<SegmentRecord> SegmentTable::find(std::uint32_t number) const {
  MutexLock lock{mutex_};
  const auto found = records_.find(number);
  if (found == records_.end()) return std::nullopt;
  return found->second;
}

std::map<std::uint32_t, SegmentRecord> SegmentTable::all() const {
  MutexLock lock{mutex_};
  return records_;
}

}  // namespace stellarium::cas
