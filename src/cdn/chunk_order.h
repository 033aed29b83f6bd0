#pragma once
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "cas/hash.h"
#include "cas/recipe.h"
#include "tier/tier.h"

namespace stellarium::cdn {

/// Contents up to this size, programs excepted, are published in Cosmic Packs; larger ones as a blob each chunk.
inline constexpr std::uint64_t kMaxPackedContent = 16u << 10;

/// A file content of an image.
struct ImageContent {
  tier::ContentRef ref;
  bool program = false;  ///< of the first inode that has it
};

/// Number of a chunk within its image: the position of its first use, contents in the order of their first inode.
using ChunkNumber = std::uint32_t;

/// Numbers the chunks of one image (docs/formats/cdn.md, "Chunk numbers"). Publisher and reader work the numbers out
/// from the same tree, so that they need not be sent.
///
/// Memory:  about 90 bytes a chunk. Threads: one at a time.
class ChunkOrder {
 public:
  struct Chunk {
    cas::ChunkId id;
    std::uint32_t size = 0;
    bool packed = false;  ///< published in a pack
  };
  /// The contents, each once, in layer order; `recipe` is that of `content`. False if a chunk of it had another size
  /// before: they cannot both be true.
  [[nodiscard]] bool add(const ImageContent& content, const cas::Recipe& recipe);
  const std::vector<Chunk>& chunks() const { return chunks_; }

 private:
  std::vector<Chunk> chunks_;
  std::unordered_map<cas::ChunkId, ChunkNumber, cas::HashOfHash> numbers_;
};

}  // namespace stellarium::cdn
