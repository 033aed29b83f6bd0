#pragma once
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

// Integers in stored and sent bytes, and a reader for bytes that nobody vouches for. Formats are little-endian;
// database keys are big-endian, so that their byte order is their numeric order.
namespace stellarium {

using ByteSpan = std::span<const std::byte>;
using MutableByteSpan = std::span<std::byte>;

inline bool all_zero(ByteSpan bytes) {
  // Each byte equals the next: as fast as memory, and without a second buffer.
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

template <std::unsigned_integral T>
T byte_swapped(T value) {
  if constexpr (sizeof(T) == 1) return value;
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

template <std::unsigned_integral T>
T load_le(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return std::endian::native == std::endian::little ? value : byte_swapped(value);
}
template <std::unsigned_integral T>
T load_be(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return std::endian::native == std::endian::big ? value : byte_swapped(value);
}
template <std::unsigned_integral T>
void store_le(void* at, T value) {
  if constexpr (std::endian::native != std::endian::little) value = byte_swapped(value);
  std::memcpy(at, &value, sizeof value);
}
template <std::unsigned_integral T>
void store_be(void* at, T value) {
  if constexpr (std::endian::native != std::endian::big) value = byte_swapped(value);
  std::memcpy(at, &value, sizeof value);
}

/// Appends to a growing string of bytes, the form that database keys and records take.
template <std::unsigned_integral T>
void put_le(std::string& out, T value) {
  char bytes[sizeof value];
  store_le(bytes, value);
  out.append(bytes, sizeof value);
}
template <std::unsigned_integral T>
void put_be(std::string& out, T value) {
  char bytes[sizeof value];
  store_be(bytes, value);
  out.append(bytes, sizeof value);
}
inline void put_bytes(std::string& out, ByteSpan bytes) {
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}
/// LEB128: seven bits a byte, low ones first.
inline void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

inline ByteSpan as_bytes(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}
inline std::string_view as_text(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Walks over untrusted bytes. Every read is checked; after the first one that does not fit, all further reads
/// fail too, so a parser may read a whole record and ask `ok()` once.
class ByteReader {
 public:
  explicit ByteReader(ByteSpan bytes) noexcept : rest_{bytes} {}

  template <std::unsigned_integral T>
  T le() {
    const ByteSpan at = take(sizeof(T));
    return at.empty() ? T{0} : load_le<T>(at.data());
  }
  template <std::unsigned_integral T>
  T be() {
    const ByteSpan at = take(sizeof(T));
    return at.empty() ? T{0} : load_be<T>(at.data());
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = le<std::uint8_t>();
      if (shift == 63 && byte > 1) ok_ = false;  // would not fit into 64 bits
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return ok_ ? value : 0;
    }
    ok_ = false;
    return 0;
  }
  /// The next `count` bytes, or an empty span if there are not that many.
  ByteSpan take(std::size_t count) {
    if (!ok_ || count > rest_.size()) {
      ok_ = false;
      return {};
    }
    const ByteSpan taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  std::string_view text(std::size_t count) { return as_text(take(count)); }

  bool ok() const noexcept { return ok_; }
  bool at_end() const noexcept { return ok_ && rest_.empty(); }
  std::size_t left() const noexcept { return rest_.size(); }

 private:
  ByteSpan rest_;
  bool ok_ = true;
};

}  // namespace stellarium
