#pragma once
#include <functional>
#include <vector>

#include "base/result.h"
#include "cdn/frame_fetcher.h"
#include "cdn/image_index.h"
#include "cdn/manifest.h"

namespace stellarium::cdn {

/// Whether the chunk is here already.
using HasChunk = std::function<Result<bool>(const cas::ChunkId&)>;

/// What to fetch so that all chunks of an image are here: the frames that hold one that is missing, those back to back
/// at once, up to `most` bytes. In the order of the bundles. Errors: corrupt (the manifest's bundles are not the
/// index's); those of `has`.
[[nodiscard]] Result<std::vector<WantedRange>> plan_contents(const Manifest& manifest, const ParsedIndex& parsed,
                                                             const HasChunk& has, std::uint64_t most = kMaxRange);
/// The same of the image's metadata.
[[nodiscard]] Result<std::vector<WantedRange>> plan_metadata(const Manifest& manifest, const HasChunk& has);

}  // namespace stellarium::cdn
