#include "cdn/bundle_plan.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <set>

#include "cas/frame_format.h"

namespace stellarium::cdn {
namespace {

using Chunks = std::vector<ChunkOrder::Chunk>;

/// Chunks of least … most bytes; the same for the same seed.
Chunks chunks_of(std::size_t count, std::uint32_t least, std::uint32_t most, unsigned seed, bool packed = false) {
  std::mt19937 random{seed};
  Chunks chunks;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string text = std::to_string(seed) + " " + std::to_string(i);
    chunks.push_back(
        {cas::hash_of(as_bytes(text)), least + static_cast<std::uint32_t>(random() % (most - least + 1)), packed});
  }
  return chunks;
}
std::vector<ChunkNumber> in_order(const Chunks& chunks) {
  std::vector<ChunkNumber> numbers(chunks.size());
  std::iota(numbers.begin(), numbers.end(), ChunkNumber{0});
  return numbers;
}
std::uint64_t size_of(const Chunks& chunks, const FramePlan& frame) {
  std::uint64_t size = 0;
  for (const ChunkNumber number : frame) size += chunks[number].size;
  return size;
}
std::uint64_t size_of(const Chunks& chunks, const BundlePlan& bundle) {
  std::uint64_t size = 0;
  for (const FramePlan& frame : bundle) size += size_of(chunks, frame);
  return size;
}
/// The ids of all frames, each as one text: what two images have in common are equal ones.
std::set<std::string> frames_of(const Chunks& chunks) {
  std::set<std::string> frames;
  for (const BundlePlan& bundle : plan_bundles(chunks, in_order(chunks))) {
    for (const FramePlan& frame : bundle) {
      std::string ids;
      for (const ChunkNumber number : frame) ids += chunks[number].id.text();
      frames.insert(ids);
    }
  }
  return frames;
}
std::set<std::string> bundles_of(const Chunks& chunks) {
  std::set<std::string> bundles;
  for (const BundlePlan& bundle : plan_bundles(chunks, in_order(chunks))) {
    std::string ids;
    for (const FramePlan& frame : bundle)
      for (const ChunkNumber number : frame) ids += chunks[number].id.text();
    bundles.insert(ids);
  }
  return bundles;
}
template <typename T>
std::size_t not_in(const std::set<T>& before, const std::set<T>& after) {
  return static_cast<std::size_t>(
      std::count_if(after.begin(), after.end(), [&](const T& each) { return !before.contains(each); }));
}

TEST(BundlePlan, HasEveryChunkOnceAndInOrder) {
  const Chunks chunks = chunks_of(5000, 1, 65'536, 1);
  std::vector<ChunkNumber> all;
  for (const BundlePlan& bundle : plan_bundles(chunks, in_order(chunks))) {
    EXPECT_FALSE(bundle.empty());
    for (const FramePlan& frame : bundle) {
      EXPECT_FALSE(frame.empty());
      all.insert(all.end(), frame.begin(), frame.end());
    }
  }
  EXPECT_EQ(all, in_order(chunks));
}

TEST(BundlePlan, KeepsItsLimits) {
  for (const std::uint32_t most : {100u, 4'000u, 65'536u}) {
    const Chunks chunks = chunks_of(100'000'000 / most, 1, most, most);
    const auto bundles = plan_bundles(chunks, in_order(chunks));
    for (std::size_t b = 0; b < bundles.size(); ++b) {
      EXPECT_LE(size_of(chunks, bundles[b]), 15u << 20);
      EXPECT_TRUE(b + 1 == bundles.size() || size_of(chunks, bundles[b]) >= 6u << 20);
      for (const FramePlan& frame : bundles[b]) {
        EXPECT_LE(size_of(chunks, frame), cas::kMaxFrameRaw);
        EXPECT_LE(frame.size(), cas::kMaxFrameEntries);
      }
    }
  }
}

TEST(BundlePlan, OfNothingIsNothing) {
  EXPECT_TRUE(plan_bundles({}, {}).empty());
  EXPECT_TRUE(plan_packs({}).empty());
  EXPECT_TRUE(plan_packs(chunks_of(10, 1, 100, 1, /*packed=*/false)).empty());
}

TEST(BundlePlan, OfOneChunkIsOneFrame) {
  for (const std::uint32_t size : {1u, 65'536u}) {
    const Chunks chunks = chunks_of(1, size, size, 1);
    EXPECT_EQ(plan_bundles(chunks, in_order(chunks)), (std::vector<BundlePlan>{{{0}}}));
  }
}

TEST(BundlePlan, CutsFramesAtAThousandChunks) {
  const Chunks chunks = chunks_of(3000, 1, 1, 1);
  const auto bundles = plan_bundles(chunks, in_order(chunks));
  ASSERT_EQ(bundles.size(), 1u);
  ASSERT_EQ(bundles[0].size(), 3u);
  EXPECT_EQ(bundles[0][0].size(), cas::kMaxFrameEntries);
  EXPECT_EQ(bundles[0][1].size(), cas::kMaxFrameEntries);
}

TEST(BundlePlan, CutsWhereTheFormatSays) {
  // docs/formats/cdn.md, "How they are cut", written once more.
  const Chunks chunks = chunks_of(4000, 1, 30'000, 2);
  std::vector<FramePlan> expected;
  std::uint64_t size = 0;
  for (const ChunkNumber number : in_order(chunks)) {
    const ChunkOrder::Chunk& chunk = chunks[number];
    const std::uint64_t draw = load_le<std::uint32_t>(chunk.id.bytes.data() + 8);
    const bool drawn = size >= 131'072 && draw * 65'536 < (std::uint64_t{chunk.size} << 32);
    if (expected.empty() || size + chunk.size > 262'144 || drawn) {
      expected.emplace_back();
      size = 0;
    }
    expected.back().push_back(number);
    size += chunk.size;
  }
  std::vector<FramePlan> found;
  for (const BundlePlan& bundle : plan_bundles(chunks, in_order(chunks)))
    found.insert(found.end(), bundle.begin(), bundle.end());
  EXPECT_EQ(found, expected);
}

TEST(BundlePlan, AnInsertedChunkChangesOnlyWhatIsAroundIt) {
  const Chunks before = chunks_of(20'000, 1, 20'000, 3);  // 200 MB
  Chunks after = before;
  const Chunks added = chunks_of(1, 5'000, 5'000, 99);
  after.insert(after.begin() + 10'000, added[0]);
  EXPECT_LE(not_in(frames_of(before), frames_of(after)), 4u);
  EXPECT_LE(not_in(bundles_of(before), bundles_of(after)), 3u);
  EXPECT_GT(bundles_of(before).size(), 15u);
}

TEST(BundlePlan, ARemovedChunkChangesOnlyWhatIsAroundIt) {
  const Chunks before = chunks_of(20'000, 1, 20'000, 4);
  Chunks after = before;
  after.erase(after.begin() + 5'000);
  EXPECT_LE(not_in(frames_of(before), frames_of(after)), 4u);
  EXPECT_LE(not_in(bundles_of(before), bundles_of(after)), 3u);
}

TEST(PackPlan, HasEveryPackedChunkOnceWithinItsLimits) {
  Chunks chunks = chunks_of(3000, 1, 16'384, 5);
  for (std::size_t i = 0; i < chunks.size(); ++i) chunks[i].packed = i % 3 != 0;
  std::vector<ChunkNumber> all, expected;
  for (const FramePlan& pack : plan_packs(chunks)) {
    EXPECT_LE(size_of(chunks, pack), cas::kMaxPackRaw);
    EXPECT_LE(pack.size(), cas::kMaxFrameEntries);
    all.insert(all.end(), pack.begin(), pack.end());
  }
  for (ChunkNumber number = 0; number < chunks.size(); ++number)
    if (chunks[number].packed) expected.push_back(number);
  EXPECT_EQ(all, expected);
}

}  // namespace
}  // namespace stellarium::cdn
