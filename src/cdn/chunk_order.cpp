#include "cdn/chunk_order.h"

namespace stellarium::cdn {

void ChunkOrder::add(const ImageContent& content, const cas::Recipe& recipe) {
  const bool packed = content.ref.size <= kMaxPackedContent && !content.program;
  for (const cas::Recipe::Entry& entry : recipe.entries)
    if (numbers_.emplace(entry.id, static_cast<ChunkNumber>(chunks_.size())).second)
      chunks_.push_back({entry.id, entry.size, packed});
}

}  // namespace stellarium::cdn
