#include "cas/hash.h"

#include <blake3.h>

#include <algorithm>
#include <new>

namespace stellarium::cas {
namespace {

// A hasher's state is plain data: it may be copied with the array that holds it, and needs no destructor.
static_assert(std::is_trivially_copyable_v<blake3_hasher> && std::is_trivially_destructible_v<blake3_hasher>);
static_assert(BLAKE3_OUT_LEN == Hash::kSize);

template <typename Bytes>
auto* as_hasher(Bytes& state) {
  static_assert(sizeof(blake3_hasher) <= sizeof(Bytes), "Hasher::state_ has no room for this BLAKE3 library's state");
  static_assert(alignof(blake3_hasher) <= 8, "Hasher::state_ is not aligned for this BLAKE3 library's state");
  using Target = std::conditional_t<std::is_const_v<Bytes>, const blake3_hasher, blake3_hasher>;
  return std::launder(reinterpret_cast<Target*>(state.data()));
}

Hash finalized(const blake3_hasher& hasher) {
  Hash hash;
  blake3_hasher_finalize(&hasher, reinterpret_cast<std::uint8_t*>(hash.bytes.data()), hash.bytes.size());
  return hash;
}

constexpr std::string_view kDigits = "0123456789abcdef";

// Value of a digit, -1 for other bytes.
constexpr std::array<std::int8_t, 256> kDigitValues = [] {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t value = 0; value < kDigits.size(); ++value)
    values[static_cast<unsigned char>(kDigits[value])] = static_cast<std::int8_t>(value);
  return values;
}();

constexpr int digit_value(char digit) {
  return kDigitValues[static_cast<unsigned char>(digit)];
}

}  // namespace

std::string Hash::hex() const {
  std::string text;
  text.reserve(2 * kSize);
  for (const std::byte byte : bytes) {
    const auto value = std::to_integer<unsigned>(byte);
    text.push_back(kDigits[value >> 4]);
    text.push_back(kDigits[value & 15]);
  }
  return text;
}

std::optional<Hash> Hash::from_hex(std::string_view text) {
  if (text.size() != 2 * kSize) return std::nullopt;
  Hash hash;
  for (std::size_t i = 0; i < kSize; ++i) {
    const int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    hash.bytes[i] = static_cast<std::byte>(high << 4 | low);
  }
  return hash;
}

std::optional<Hash> Hash::from_bytes(ByteSpan bytes) {
  if (bytes.size() != kSize) return std::nullopt;
  Hash hash;
  std::ranges::copy(bytes, hash.bytes.begin());
  return hash;
}

Hash hash_of(ByteSpan data) {
  blake3_hasher hasher;
  blake3_hasher_init(&hasher);
  blake3_hasher_update(&hasher, data.data(), data.size());
  return finalized(hasher);
}

Hasher::Hasher() {
  new (state_.data()) blake3_hasher;
  reset();
}

void Hasher::reset() {
  blake3_hasher_init(as_hasher(state_));
}

void Hasher::update(ByteSpan data) {
  blake3_hasher_update(as_hasher(state_), data.data(), data.size());
}

void Hasher::update_zeros(std::uint64_t count) {
  // Long enough for all SIMD lanes, short enough for the cache.
  static constexpr std::array<std::byte, 64 << 10> kZeros{};
  while (count > 0) {
    const std::uint64_t part = std::min<std::uint64_t>(count, kZeros.size());
    update(ByteSpan{kZeros}.first(static_cast<std::size_t>(part)));
    count -= part;
  }
}

Hash Hasher::finish() const {
  return finalized(*as_hasher(state_));
}

}  // namespace stellarium::cas
