#pragma once
#include <cstdint>
#include <vector>

#include "cas/recipe.h"

namespace stellarium::tier {

/// A recipe with the offsets where its entries begin, so that any byte of the content is found by binary search.
///
/// Cost:    `find` is O(log entries); building is one pass.
/// Memory:  48 bytes per entry, thus about 1.5 KB per MB of content.
/// Threads: immutable.
class ContentMap {
 public:
  explicit ContentMap(cas::Recipe recipe);

  const cas::ContentId& content() const { return recipe_.content; }
  std::uint64_t size() const { return recipe_.size; }
  std::size_t entries() const { return recipe_.entries.size(); }
  const cas::Recipe::Entry& entry(std::size_t index) const { return recipe_.entries[index]; }
  std::uint64_t begin_of(std::size_t index) const { return begins_[index]; }
  std::uint64_t end_of(std::size_t index) const {
    return index + 1 < begins_.size() ? begins_[index + 1] : recipe_.size;
  }
  /// The entry whose bytes include `offset`, which must be below size().
  std::size_t find(std::uint64_t offset) const;

  /// Whether the entry is known, by its id, to be zeros: nothing needs to be fetched or written for it.
  bool is_zeros(std::size_t index) const;
  /// Bytes that are not known zeros: what a hot file takes on disk.
  std::uint64_t data_bytes() const;
  std::uint64_t memory_bytes() const;

 private:
  cas::Recipe recipe_;
  std::vector<std::uint64_t> begins_;
};

}  // namespace stellarium::tier
