#pragma once
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace stellarium::cas {

/// A BLAKE3-256 digest (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020): the name of some bytes.
struct Hash {
  static constexpr std::size_t kSize = 32;
  std::array<std::byte, kSize> bytes{};

  auto operator<=>(const Hash&) const = default;

  std::string hex() const;  ///< 64 lower-case digits
  /// Takes exactly 64 lower-case hexadecimal digits, else nothing.
  static std::optional<Hash> from_hex(std::string_view text);
  static std::optional<Hash> from_bytes(ByteSpan bytes);  ///< exactly 32 bytes
  ByteSpan span() const { return bytes; }
  std::string_view text() const { return as_text(bytes); }  ///< the raw 32 bytes as a database key
};

/// What a hash names. A content of one chunk has that chunk's id, because both are the BLAKE3 of the same bytes.
using ChunkId = Hash;    ///< 1 byte to 64 KiB of content
using ContentId = Hash;  ///< all bytes of one file

/// Digests are uniformly distributed already: any eight bytes of them are a good hash-table hash.
struct HashOfHash {
  std::size_t operator()(const Hash& hash) const noexcept { return load_le<std::uint64_t>(hash.bytes.data()); }
};

/// BLAKE3 of one span. 6 GB/s a core from 16 KiB up with AVX-512, about 2 GB/s at 4 KiB.
Hash hash_of(ByteSpan data);

/// BLAKE3 of a stream. Threads: one at a time.
class Hasher {
 public:
  Hasher();
  void update(ByteSpan data);
  void update_zeros(std::uint64_t count);  ///< as update() with that many zero bytes, which need not exist anywhere
  Hash finish() const;                     ///< of everything so far; more may follow
  void reset();

 private:
  // Room for the library's own state, so that its header stays out of ours (checked in hash.cpp).
  alignas(8) std::array<std::byte, 1912> state_;
};

}  // namespace stellarium::cas
