#include "cas/id_filter.h"

#include <algorithm>

namespace stellarium::cas {
namespace {

constexpr std::size_t kFirstWords = 1024;  // 64 Ki bits: about 5,000 ids
constexpr unsigned kBitsPerId = 12;
constexpr unsigned kProbes = 8;

/// Calls `visit(word, mask)` for each bit that belongs to `id` until it returns false.
template <typename Visit>
bool every_bit(const Hash& id, std::size_t words, Visit visit) {
  // Double hashing (Kirsch and Mitzenmacher, 2006) over two independent words of the digest.
  const auto start = load_le<std::uint64_t>(id.bytes.data() + 8);
  const auto step = load_le<std::uint64_t>(id.bytes.data() + 16) | 1;
  for (unsigned probe = 0; probe < kProbes; ++probe) {
    const std::uint64_t bit = start + probe * step;
    if (!visit((bit >> 6) & (words - 1), std::uint64_t{1} << (bit & 63))) return false;
  }
  return true;
}

}  // namespace

void IdFilter::add(const Hash& id) {
  if (parts_.empty() || parts_.back().room == 0) {
    const std::size_t words = parts_.empty() ? kFirstWords : parts_.back().words.size() * 2;
    parts_.push_back({std::vector<std::uint64_t>(words), words * 64 / kBitsPerId});
  }
  Part& part = parts_.back();
  bool added = false;
  every_bit(id, part.words.size(), [&](std::size_t word, std::uint64_t mask) {
    added |= (part.words[word] & mask) == 0;
    part.words[word] |= mask;
    return true;
  });
  if (added) --part.room;
}

bool IdFilter::may_contain(const Hash& id) const {
  return std::ranges::any_of(parts_, [&](const Part& part) {
    return every_bit(id, part.words.size(),
                     [&](std::size_t word, std::uint64_t mask) { return (part.words[word] & mask) != 0; });
  });
}

}  // namespace stellarium::cas
