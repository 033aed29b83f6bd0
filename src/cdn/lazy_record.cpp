#include "cdn/lazy_record.h"

#include "cdn/families.h"

namespace stellarium::cdn {
namespace {

constexpr std::uint8_t kRecordVersion = 1;

}  // namespace

std::string encode_lazy(const LazyRecord& record) {
  std::string out;
  put_le(out, kRecordVersion);
  put_le(out, static_cast<std::uint8_t>(record.completes ? 1 : 0));
  put_le(out, static_cast<std::uint8_t>(record.remote.size()));
  return out + record.remote + record.manifest;
}

Result<LazyRecord> decode_lazy(std::string_view value) {
  ByteReader reader{as_bytes(value)};
  const auto version = reader.le<std::uint8_t>(), completes = reader.le<std::uint8_t>();
  const auto size = reader.le<std::uint8_t>();
  LazyRecord record;
  record.completes = completes != 0;
  record.remote = reader.text(size);
  record.manifest = reader.text(reader.left());
  if (!reader.ok() || version != kRecordVersion || completes > 1 || size == 0 || record.manifest.empty())
    return fail(Errc::corrupt, "the record of a lazy image is malformed");
  return record;
}

Result<std::vector<std::pair<cas::ContentId, LazyRecord>>> read_lazy(const cas::Database& database) {
  std::vector<std::pair<cas::ContentId, LazyRecord>> all;
  const auto cursor = database.scan(kLazyFamily, {}, {});
  for (; cursor->valid(); cursor->next()) {
    const auto layer = cas::Hash::from_bytes(as_bytes(cursor->key()));
    if (!layer) return fail(Errc::corrupt, "the family of lazy images has a malformed key");
    auto record = decode_lazy(cursor->value());
    if (!record) return fail(std::move(record).error());
    all.emplace_back(*layer, *std::move(record));
  }
  if (auto read = cursor->status(); !read) return fail(read.error());
  return all;
}

}  // namespace stellarium::cdn
