#pragma once
#include <cstdint>
#include <vector>

#include "cas/hash.h"

namespace stellarium::cas {

/// A set of ids that may say "perhaps" for one that was never added, but never "no" for one that was.
///
/// Method:  scalable Bloom filter (Almeida et al., Information Processing Letters 101, 2007): a full part is followed
///          by one of twice its size. Ids are digests, so their own words serve as the hash functions.
/// Cost:    12 bits per id; "perhaps" for about 1 in 300 strangers.
/// Threads: not synchronized.
class IdFilter {
 public:
  void add(const Hash& id);
  bool may_contain(const Hash& id) const;

 private:
  struct Part {
    std::vector<std::uint64_t> words;  // a power of two of them
    std::uint64_t room;                // ids until it is full
  };
  std::vector<Part> parts_;
};

}  // namespace stellarium::cas
