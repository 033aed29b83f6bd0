#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "tier/content_map.h"
#include "tier/frame_cache.h"
#include "tier/recipe_cache.h"
#include "tier/tier.h"

namespace stellarium::tier {

/// Puts contents together from the frames that hold their chunks.
///
/// Threads: all functions may be called concurrently; a miss blocks its caller while one frame is read and decoded.
/// Errors:  those of FrameCache and RecipeCache, with the content and the offset.
class ContentReader {
 public:
  ContentReader(FrameCache& frames, RecipeCache& recipes) : frames_{frames}, recipes_{recipes} {}

  Result<RecipeCache::MapPtr> map_of(const ContentRef& content) { return recipes_.get(content.id, content.size); }

  /// Consecutive bytes of a content: a view into one frame, or zeros that exist nowhere.
  struct Run {
    std::shared_ptr<const cas::DecodedFrame> frame;
    ByteSpan data;
    std::uint64_t zeros = 0;
    std::uint64_t size() const { return data.size() + zeros; }
  };
  /// The longest run from `offset` that ends at `limit` or before, and is 1 byte long at least; offset < limit ≤ size.
  Result<Run> run_at(const ContentMap& map, std::uint64_t offset, std::uint64_t limit);

  /// Fills `out` with the bytes from `offset` on; the range must lie within the content.
  Result<void> read(const ContentRef& content, std::uint64_t offset, MutableByteSpan out);
  /// The same if everything is in memory; false, with anything in `out`, if not.
  bool read_if_present(const ContentRef& content, std::uint64_t offset, MutableByteSpan out);
  /// Decodes the frames behind [begin, end) into memory. An error is left for the read that meets it.
  void prefetch(const ContentRef& content, std::uint64_t begin, std::uint64_t end);

 private:
  static Result<Run> run_in(FrameCache::Chunk chunk, const ContentMap& map, std::size_t entry, std::uint64_t offset,
                            std::uint64_t limit);

  FrameCache& frames_;
  RecipeCache& recipes_;
};

}  // namespace stellarium::tier
