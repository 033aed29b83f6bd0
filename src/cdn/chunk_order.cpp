#include "cdn/chunk_order.h"

namespace stellarium::cdn {

bool ChunkOrder::add(const ImageContent& content, const cas::Recipe& recipe) {
  const bool packed = content.ref.size <= kMaxPackedContent && !content.program;
  for (const cas::Recipe::Entry& entry : recipe.entries) {
    const auto [number, is_new] = numbers_.emplace(entry.id, static_cast<ChunkNumber>(chunks_.size()));
    if (is_new) chunks_.push_back({entry.id, entry.size, packed});
    if (chunks_[number->second].size != entry.size) return false;
  }
  return true;
}

}  // namespace stellarium::cdn
