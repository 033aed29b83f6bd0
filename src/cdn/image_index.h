#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "cas/recipe.h"
#include "cdn/chunk_order.h"

namespace stellarium::cdn {

/// What a reader of a published image needs besides its layer object (docs/formats/cdn.md, "Index"): the chunk lists of
/// its larger contents, and which chunks lie in which frame of which bundle, and in which pack.
struct ImageIndex {
  std::vector<cas::Recipe> recipes;  ///< of the contents of more than kMaxChunk bytes, in layer order
  struct Frame {
    std::uint32_t stored = 0;  ///< bytes of its container
    std::vector<ChunkNumber> chunks;
  };
  using Bundle = std::vector<Frame>;  ///< containers back to back
  std::vector<Bundle> bundles;        ///< as many as the manifest names
  struct Pack {
    cas::Hash id;
    std::uint32_t stored = 0;  ///< bytes of its container
    std::vector<ChunkNumber> chunks;
  };
  std::vector<Pack> packs;
};

/// The bytes of the index; equal ones for equal images and settings.
std::string encode_index(const ImageIndex& index);

/// An index that fits the image, and the image's chunks.
struct ParsedIndex {
  ImageIndex index;
  ChunkOrder order;
};
/// Takes untrusted bytes, and the contents of the tree that they are to be an index of. Refuses (corrupt) everything
/// that no publisher writes: recipes that are not canonical, chunks that lie in no frame or in two, frames that are too
/// large. Errors: corrupt, version. Memory: in proportion to the bytes.
[[nodiscard]] Result<ParsedIndex> parse_index(ByteSpan bytes, const std::vector<ImageContent>& contents);

}  // namespace stellarium::cdn
