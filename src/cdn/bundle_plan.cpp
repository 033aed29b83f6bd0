#include "cdn/bundle_plan.h"

#include <cstdint>

#include "base/bytes.h"
#include "cas/frame_format.h"

namespace stellarium::cdn {
namespace {

/// Bytes of uncompressed data. Beyond `least`, each further `mean` of them ends at a cut in the mean.
struct Sizes {
  std::uint64_t least, mean, most;
};
constexpr Sizes kFrame{128u << 10, 64u << 10, cas::kMaxFrameRaw};
constexpr Sizes kPack{32u << 10, 16u << 10, cas::kMaxPackRaw};
constexpr Sizes kBundle{6u << 20, 3u << 20, 15u << 20};

/// Whether something of `size` bytes so far ends before the chunk, with which `next` bytes come. `salt` picks the bytes
/// of the id that decide: frames and bundles are cut independently of each other.
bool ends_before(const cas::ChunkId& id, std::uint64_t size, std::uint64_t next, const Sizes& sizes, std::size_t salt) {
  if (size + next > sizes.most) return true;
  if (size < sizes.least) return false;
  // One in mean/next: as often for many small chunks as for few large ones.
  const std::uint64_t draw = load_le<std::uint32_t>(id.bytes.data() + salt);
  return draw * sizes.mean < (next << 32);
}

std::vector<FramePlan> plan_frames(const std::vector<ChunkOrder::Chunk>& chunks, std::span<const ChunkNumber> order,
                                   const Sizes& sizes) {
  std::vector<FramePlan> frames;
  std::uint64_t size = 0;
  for (const ChunkNumber number : order) {
    const ChunkOrder::Chunk& chunk = chunks[number];
    const bool full = !frames.empty() && frames.back().size() >= cas::kMaxFrameEntries;
    if (frames.empty() || full || ends_before(chunk.id, size, chunk.size, sizes, 8)) {
      frames.emplace_back();
      size = 0;
    }
    frames.back().push_back(number);
    size += chunk.size;
  }
  return frames;
}

}  // namespace

std::vector<BundlePlan> plan_bundles(const std::vector<ChunkOrder::Chunk>& chunks, std::span<const ChunkNumber> order) {
  std::vector<BundlePlan> bundles;
  std::uint64_t size = 0;
  for (FramePlan& frame : plan_frames(chunks, order, kFrame)) {
    std::uint64_t frame_size = 0;
    for (const ChunkNumber number : frame) frame_size += chunks[number].size;
    if (bundles.empty() || ends_before(chunks[frame.front()].id, size, frame_size, kBundle, 16)) {
      bundles.emplace_back();
      size = 0;
    }
    bundles.back().push_back(std::move(frame));
    size += frame_size;
  }
  return bundles;
}

std::vector<FramePlan> plan_packs(const std::vector<ChunkOrder::Chunk>& chunks) {
  std::vector<ChunkNumber> packed;
  for (ChunkNumber number = 0; number < chunks.size(); ++number)
    if (chunks[number].packed) packed.push_back(number);
  return plan_frames(chunks, packed, kPack);
}

}  // namespace stellarium::cdn
