#include "cas/live_set.h"

#include <algorithm>

namespace stellarium::cas {

void LiveSet::add(const Hash& id) {
  words_.push_back(word_of(id));
  if (words_.size() < limit_) return;
  seal();
  limit_ = std::max(limit_, 2 * words_.size());
}

void LiveSet::seal() {
  std::ranges::sort(words_);
  words_.erase(std::unique(words_.begin(), words_.end()), words_.end());
}

bool LiveSet::contains(const Hash& id) const {
  return std::ranges::binary_search(words_, word_of(id));
}

}  // namespace stellarium::cas
