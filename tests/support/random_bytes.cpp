#include "support/random_bytes.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace stellarium::test {

// Flattened: what is not inlined would be shared with the instrumented copies that the tests themselves have.
[[gnu::flatten]] std::vector<std::byte> random_bytes(std::uint64_t seed, std::size_t size) {
  std::mt19937_64 random{seed};
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());  // golden files were made with a draw a byte
  return bytes;
}

[[gnu::flatten]] std::vector<std::byte> text_bytes(std::uint64_t seed, std::size_t size) {
  std::mt19937_64 random{seed};
  std::vector<std::byte> bytes(size);
  for (std::size_t at = 0; at < size;) {
    const int letter = 'a' + static_cast<int>(random() % 16);
    const std::size_t run = std::min<std::size_t>(1 + random() % 7, size - at);
    std::memset(bytes.data() + at, letter, run);
    at += run;
  }
  return bytes;
}

bool same_bytes(ByteSpan left, ByteSpan right) {
  return left.size() == right.size() && (left.empty() || std::memcmp(left.data(), right.data(), left.size()) == 0);
}

}  // namespace stellarium::test
