#pragma once
#include <array>

#include "cas/database.h"

namespace stellarium::cas {

inline constexpr Family kChunkFamily{"chunk"};  ///< chunk id → location (chunk_index.h)
inline constexpr Family kRecipeFamily{
    "recipe"};  ///< content id, page → recipe page (recipe.h); only contents of more than one chunk
inline constexpr Family kSegmentFamily{
    "segment"};  ///< segment number → durable length, state, live bytes (segment_table.h)
inline constexpr Family kMetaFamily{"meta"};  ///< name → format version, counters

inline constexpr std::array kFamilies{&kChunkFamily, &kRecipeFamily, &kSegmentFamily, &kMetaFamily};

}  // namespace stellarium::cas
