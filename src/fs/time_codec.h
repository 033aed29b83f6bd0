#pragma once
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Signed numbers as varints: small magnitudes of either sign take few bytes.
inline void put_signed(std::string& out, std::int64_t value) {
  put_varint(out, (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
}
inline std::int64_t take_signed(ByteReader& reader) {
  const std::uint64_t coded = reader.varint();
  return static_cast<std::int64_t>(coded >> 1) ^ -static_cast<std::int64_t>(coded & 1);
}

/// Seconds since 1970 as a signed varint, then nanoseconds as a varint.
inline void put_time(std::string& out, const Timespec& time) {
  put_signed(out, time.seconds);
  put_varint(out, time.nanoseconds);
}
/// The caller checks with valid_time(), once it knows that the reader is still ok.
inline Timespec take_time(ByteReader& reader) {
  const std::int64_t seconds = take_signed(reader);
  const std::uint64_t nanoseconds = reader.varint();
  return {seconds, nanoseconds > 0xffffffff ? 0xffffffff : static_cast<std::uint32_t>(nanoseconds)};
}
inline bool valid_time(const Timespec& time) {
  return time.nanoseconds < 1'000'000'000;
}

}  // namespace stellarium::fs
