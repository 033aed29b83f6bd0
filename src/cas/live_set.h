#pragma once
#include <cstdint>
#include <vector>

#include "cas/hash.h"

namespace stellarium::cas {

/// Many ids in 8 to 16 bytes each, however often each is added: `add` all, `seal` once, then ask. Two ids with the same
/// first 8 bytes are taken for one, so the answer "no" is always right and "yes" almost always, which is what gc needs:
/// it may keep too much, never too little.
class LiveSet {
 public:
  void add(const Hash& id);
  void seal();  ///< cost: a sort
  bool contains(const Hash& id) const;
  std::size_t size() const { return words_.size(); }  ///< distinct ids, once sealed

 private:
  static std::uint64_t word_of(const Hash& id) { return load_le<std::uint64_t>(id.bytes.data()); }
  std::vector<std::uint64_t> words_;
  std::size_t limit_ = 1u << 20;  // at which repeated ids are removed
};

}  // namespace stellarium::cas
