#include "cas/chunk_source.h"

#include <algorithm>

namespace stellarium::cas {

const DecodedFrame::Entry* DecodedFrame::find(const ChunkId& id) const {
  const auto found = std::ranges::find(entries, id, &Entry::id);
  return found == entries.end() ? nullptr : &*found;
}

}  // namespace stellarium::cas
