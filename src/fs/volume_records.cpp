#include "fs/volume_records.h"

#include <cassert>

#include "base/bytes.h"
#include "fs/tinyvol.h"

namespace stellarium::fs {
namespace {

constexpr std::uint8_t kRecordVersion = 1;
constexpr std::uint32_t kSecond = 1'000'000'000;
constexpr std::uint64_t kLastBlock = kMaxVolumeSize / kVolumeBlock - 1;
constexpr std::size_t kMaxOrigin = 4096;

tl::unexpected<Error> corrupt(const char* what, const char* why) {
  return fail(Errc::corrupt, std::string{what} + ": " + why);
}
tl::unexpected<Error> version(const char* what, std::uint8_t found) {
  return fail(Errc::version, std::string{what} + " of version " + std::to_string(found) +
                                 ": this program reads version " + std::to_string(kRecordVersion));
}

void put_fixed_time(std::string& out, const Timespec& time) {
  put_le(out, static_cast<std::uint64_t>(time.seconds));
  put_le(out, time.nanoseconds);
}
Timespec take_fixed_time(ByteReader& in) {
  Timespec time;
  time.seconds = static_cast<std::int64_t>(in.le<std::uint64_t>());
  time.nanoseconds = in.le<std::uint32_t>();
  return time;
}

}  // namespace

std::string encode_volume(const VolumeRecord& record) {
  assert(record.size <= kMaxVolumeSize && record.number <= kMaxVolumeNumber && record.origin.size() <= kMaxOrigin);
  std::string out;
  put_le(out, kRecordVersion);
  for (const std::uint64_t field : {record.number, record.map, record.size, record.mapped, record.staged})
    put_le(out, field);
  put_fixed_time(out, record.created);
  put_fixed_time(out, record.changed);
  return out + record.origin;
}

Result<VolumeRecord> decode_volume(std::string_view value) {
  ByteReader in{as_bytes(value)};
  const auto found = in.le<std::uint8_t>();
  VolumeRecord record;
  for (std::uint64_t* field : {&record.number, &record.map, &record.size, &record.mapped, &record.staged})
    *field = in.le<std::uint64_t>();
  record.created = take_fixed_time(in);
  record.changed = take_fixed_time(in);
  if (in.ok() && found != kRecordVersion) return version("volume record", found);
  if (!in.ok()) return corrupt("volume record", "cut short");
  if (in.left() > kMaxOrigin) return corrupt("volume record", "too long");
  record.origin = std::string{in.text(in.left())};
  if (record.number == 0 || record.number > kMaxVolumeNumber) return corrupt("volume record", "an impossible number");
  if (record.map == 0) return corrupt("volume record", "no map");
  if (record.size == 0 || record.size > kMaxVolumeSize) return corrupt("volume record", "an impossible size");
  if (record.mapped > record.size) return corrupt("volume record", "more bytes than its size");
  if (record.staged >> 63 != 0) return corrupt("volume record", "an impossible staged file");
  if (record.created.nanoseconds >= kSecond || record.changed.nanoseconds >= kSecond)
    return corrupt("volume record", "an impossible time");
  return record;
}

std::string map_key(MapId map) {
  std::string key;
  put_be(key, map);
  return key;
}

std::string encode_map(const MapRecord& record) {
  std::string out;
  put_le(out, kRecordVersion);
  put_le(out, record.parent);
  return out;
}

Result<MapRecord> decode_map(std::string_view value) {
  ByteReader in{as_bytes(value)};
  const auto found = in.le<std::uint8_t>();
  const MapRecord record{in.le<std::uint64_t>()};
  if (!in.at_end()) return corrupt("block map", "a record of another length");
  if (found != kRecordVersion) return version("block map", found);
  return record;
}

std::string encode_volume_counters(const VolumeCounters& counters) {
  std::string out;
  put_le(out, kRecordVersion);
  put_le(out, counters.next_map);
  put_le(out, counters.next_number);
  return out;
}

Result<VolumeCounters> decode_volume_counters(std::string_view value) {
  ByteReader in{as_bytes(value)};
  const auto found = in.le<std::uint8_t>();
  VolumeCounters counters;
  counters.next_map = in.le<std::uint64_t>();
  counters.next_number = in.le<std::uint64_t>();
  if (!in.at_end()) return corrupt("counters of volumes", "a record of another length");
  if (found != kRecordVersion) return version("counters of volumes", found);
  if (counters.next_map == 0 || counters.next_number == 0) return corrupt("counters of volumes", "a counter of 0");
  return counters;
}

std::string extent_key(MapId map, std::uint64_t block) {
  std::string key;
  put_be(key, map);
  put_be(key, block);
  return key;
}

Result<ExtentKey> decode_extent_key(std::string_view key) {
  ByteReader in{as_bytes(key)};
  ExtentKey decoded;
  decoded.map = in.be<std::uint64_t>();
  decoded.block = in.be<std::uint64_t>();
  if (!in.at_end() || decoded.map == 0 || decoded.block > kLastBlock) return corrupt("extent", "an impossible key");
  return decoded;
}

std::string encode_extent(const Extent& extent) {
  assert(extent.length <= kVolumeBlock);
  std::string out;
  if (extent.is_zeros()) return out;
  put_le(out, static_cast<std::uint16_t>(extent.length - 1));
  put_bytes(out, extent.id.span());
  return out;
}

Result<Extent> decode_extent(std::string_view value) {
  Extent extent;
  if (value.empty()) return extent;
  ByteReader in{as_bytes(value)};
  extent.length = std::uint32_t{in.le<std::uint16_t>()} + 1;
  const ByteSpan id = in.take(cas::Hash::kSize);
  if (!in.at_end()) return corrupt("extent", "a record of another length");
  extent.id = cas::Hash::from_bytes(id).value();
  return extent;
}

}  // namespace stellarium::fs
