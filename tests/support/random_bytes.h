#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace stellarium::test {

/// The same incompressible bytes for the same seed, everywhere.
inline std::vector<std::byte> random_bytes(std::uint64_t seed, std::size_t size) {
  std::mt19937_64 random{seed};
  std::vector<std::byte> bytes(size);
  for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
    const std::uint64_t eight = random();  // a draw for each byte is what tests under sanitizers spent their time with
    std::memcpy(bytes.data() + at, &eight, std::min(sizeof eight, size - at));
  }
  return bytes;
}

/// Bytes that compress to about an eighth: one of sixteen letters, in runs.
inline std::vector<std::byte> text_bytes(std::uint64_t seed, std::size_t size) {
  std::mt19937_64 random{seed};
  std::vector<std::byte> bytes;
  bytes.reserve(size);
  while (bytes.size() < size) {
    const auto letter = static_cast<std::byte>('a' + random() % 16);
    for (std::uint64_t run = 1 + random() % 7; run > 0 && bytes.size() < size; --run) bytes.push_back(letter);
  }
  return bytes;
}

}  // namespace stellarium::test
