#include "cdn/fetch_plan.h"

namespace stellarium::cdn {
namespace {

/// Collects wanted frames, ascending in each bundle.
class Ranges {
 public:
  explicit Ranges(std::uint64_t most) : most_{most} {}
  void add(const cas::Hash& bundle, WantedFrame frame) {
    std::string path = blob_path(bundle);
    const bool follows = !ranges_.empty() && ranges_.back().path == path &&
                         ranges_.back().offset() + ranges_.back().size() == frame.offset &&
                         ranges_.back().size() + frame.stored <= most_;
    if (!follows) ranges_.push_back({std::move(path), {}});
    ranges_.back().frames.push_back(std::move(frame));
  }
  std::vector<WantedRange> take() && { return std::move(ranges_); }

 private:
  const std::uint64_t most_;
  std::vector<WantedRange> ranges_;
};

Result<bool> lacks_any(const std::vector<ChunkOrder::Chunk>& chunks, const HasChunk& has) {
  for (const ChunkOrder::Chunk& chunk : chunks) {
    const auto there = has(chunk.id);
    if (!there || !*there) return there ? Result<bool>{true} : there;
  }
  return false;
}

}  // namespace

Result<std::vector<WantedRange>> plan_contents(const Manifest& manifest, const ParsedIndex& parsed, const HasChunk& has,
                                               std::uint64_t most) {
  if (manifest.bundles.size() != parsed.index.bundles.size())
    return fail(Errc::corrupt, "the manifest names " + std::to_string(manifest.bundles.size()) +
                                   " bundles, the index " + std::to_string(parsed.index.bundles.size()));
  Ranges ranges{most};
  for (std::size_t b = 0; b < manifest.bundles.size(); ++b) {
    std::uint64_t offset = 0;
    for (const ImageIndex::Frame& frame : parsed.index.bundles[b]) {
      WantedFrame wanted{offset, frame.stored, {}};
      offset += frame.stored;
      for (const ChunkNumber number : frame.chunks) wanted.chunks.push_back(parsed.order.chunks()[number]);
      const auto lacks = lacks_any(wanted.chunks, has);
      if (!lacks) return fail(lacks.error());
      if (*lacks) ranges.add(manifest.bundles[b].id, std::move(wanted));
    }
    if (offset != manifest.bundles[b].size)
      return fail(Errc::corrupt, "the frames of bundle " + manifest.bundles[b].id.hex() + " have " +
                                     std::to_string(offset) + " bytes, the manifest says " +
                                     std::to_string(manifest.bundles[b].size));
  }
  return std::move(ranges).take();
}

Result<std::vector<WantedRange>> plan_metadata(const Manifest& manifest, const HasChunk& has) {
  const auto parts = manifest.metadata_chunks();
  Ranges ranges{kMaxRange};
  std::uint64_t offset = 0;
  std::size_t at = 0;
  for (const Manifest::Frame& frame : manifest.metadata_frames) {
    WantedFrame wanted{offset, frame.stored, {}};
    offset += frame.stored;
    for (std::uint32_t i = 0; i < frame.chunks; ++i, ++at)
      wanted.chunks.push_back({parts[at].id, parts[at].size, false});
    const auto lacks = lacks_any(wanted.chunks, has);
    if (!lacks) return fail(lacks.error());
    if (*lacks) ranges.add(manifest.metadata.id, std::move(wanted));
  }
  return std::move(ranges).take();
}

}  // namespace stellarium::cdn
