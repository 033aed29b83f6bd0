#include "tier/content_map.h"

#include <algorithm>
#include <cassert>

namespace stellarium::tier {
namespace {

// Holes and long runs of zeros are cut into chunks of the largest size, so one id recognizes nearly all of them.
const cas::ChunkId& id_of_zeros() {
  static const cas::ChunkId id = cas::hash_of(std::vector<std::byte>(cas::kMaxChunk));
  return id;
}

}  // namespace

ContentMap::ContentMap(cas::Recipe recipe) : recipe_{std::move(recipe)} {
  begins_.reserve(recipe_.entries.size());
  std::uint64_t at = 0;
  for (const auto& entry : recipe_.entries) {
    begins_.push_back(at);
    at += std::uint64_t{entry.size} * entry.repeat;
  }
}

std::size_t ContentMap::find(std::uint64_t offset) const {
  assert(offset < recipe_.size);
  const auto after = std::upper_bound(begins_.begin(), begins_.end(), offset);
  return static_cast<std::size_t>(after - begins_.begin()) - 1;
}

bool ContentMap::is_zeros(std::size_t index) const {
  const auto& entry = recipe_.entries[index];
  return entry.size == cas::kMaxChunk && entry.id == id_of_zeros();
}

std::uint64_t ContentMap::data_bytes() const {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < entries(); ++i) {
    if (!is_zeros(i)) bytes += end_of(i) - begins_[i];
  }
  return bytes;
}

std::uint64_t ContentMap::memory_bytes() const {
  return sizeof *this + recipe_.entries.capacity() * sizeof(cas::Recipe::Entry) +
         begins_.capacity() * sizeof(std::uint64_t);
}

}  // namespace stellarium::tier
