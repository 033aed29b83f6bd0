#pragma once
#include <array>

#include "cas/database.h"

namespace stellarium::cas {

/// Chunk id → location (chunk_index.h).
inline constexpr Family kChunkFamily{.name = "chunk", .mostly_absent = true};
/// Content id, page → recipe page (recipe.h); only contents of more than one chunk.
inline constexpr Family kRecipeFamily{.name = "recipe", .mostly_absent = true};
/// Segment number → durable length, state, live bytes (segment_table.h).
inline constexpr Family kSegmentFamily{"segment"};
/// Name → format version, counters.
inline constexpr Family kMetaFamily{"meta"};

inline constexpr std::array kFamilies{&kChunkFamily, &kRecipeFamily, &kSegmentFamily, &kMetaFamily};

}  // namespace stellarium::cas
