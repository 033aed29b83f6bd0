#include "tier/frame_cache.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "unit/tier/memory_store.h"

namespace stellarium::tier {
namespace {

using testing::MemoryStore;
using testing::random_bytes;
using testing::same_bytes;

std::vector<std::vector<std::byte>> small_files(std::size_t count, std::size_t size) {
  std::vector<std::vector<std::byte>> files;
  for (std::size_t i = 0; i < count; ++i) files.push_back(random_bytes(i + 1, size));
  return files;
}

TEST(FrameCache, AllFilesOfAPackCostOneFetch) {
  MemoryStore store;
  const auto files = small_files(60, 1000);
  const auto refs = store.add_pack(files);
  FrameCache cache{store, 1u << 20};
  for (std::size_t i = 0; i < refs.size(); ++i) {
    const auto chunk = cache.get(refs[i].id);
    ASSERT_TRUE(chunk);
    EXPECT_TRUE(same_bytes(chunk->data(), files[i]));
  }
  EXPECT_EQ(store.fetches, 1u);
  EXPECT_EQ(cache.stats().hits, 59u);
}

TEST(FrameCache, ConcurrentMissesShareOneFetch) {
  MemoryStore store;
  store.delay = std::chrono::milliseconds{20};
  const auto content = store.add(random_bytes(1, 50'000));
  FrameCache cache{store, 1u << 20};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { EXPECT_TRUE(cache.get(content.id)); });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(store.fetches, 1u);
}

TEST(FrameCache, KeepsToItsBudget) {
  MemoryStore store;
  FrameCache cache{store, 1u << 20};
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const auto content = store.add(random_bytes(seed, 60'000));
    ASSERT_TRUE(cache.get(content.id));
    EXPECT_LE(cache.stats().bytes, 1u << 20);
  }
}

TEST(FrameCache, EvictedChunksAreFetchedAgain) {
  MemoryStore store;
  FrameCache cache{store, 200'000};
  const auto first = store.add(random_bytes(1, 60'000));
  ASSERT_TRUE(cache.get(first.id));
  for (std::uint64_t seed = 2; seed < 20; ++seed) ASSERT_TRUE(cache.get(store.add(random_bytes(seed, 60'000)).id));
  EXPECT_FALSE(cache.find(first.id));
  EXPECT_TRUE(cache.get(first.id));
}

TEST(FrameCache, AChunkOutlivesItsEviction) {
  MemoryStore store;
  FrameCache cache{store, 100'000};
  const auto bytes = random_bytes(1, 60'000);
  const auto held = cache.get(store.add(bytes).id);
  for (std::uint64_t seed = 2; seed < 9; ++seed) ASSERT_TRUE(cache.get(store.add(random_bytes(seed, 60'000)).id));
  EXPECT_TRUE(same_bytes(held->data(), bytes));
}

TEST(FrameCache, AFailedFetchIsNotRemembered) {
  MemoryStore store;
  const auto content = store.add(random_bytes(1, 5000));
  FrameCache cache{store, 1u << 20};
  store.failing = true;
  const auto failed = cache.get(content.id);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::not_found);
  store.failing = false;
  EXPECT_TRUE(cache.get(content.id));
}

/// Delivers what it was given, whatever was asked for.
class OneFrameSource final : public cas::ChunkSource {
 public:
  explicit OneFrameSource(cas::DecodedFrame frame) : frame_{std::make_shared<cas::DecodedFrame>(std::move(frame))} {}
  Result<std::shared_ptr<const cas::DecodedFrame>> fetch(const cas::ChunkId&) override { return frame_; }

 private:
  std::shared_ptr<const cas::DecodedFrame> frame_;
};

TEST(FrameCache, AFrameWithoutTheChunkIsCorrupt) {
  const auto bytes = random_bytes(1, 100);
  OneFrameSource source{{{{cas::hash_of(bytes), 0, 100}}, cas::FrameBuffer{100}}};
  FrameCache cache{source, 1u << 20};
  const auto chunk = cache.get(cas::hash_of(random_bytes(2, 100)));
  ASSERT_FALSE(chunk);
  EXPECT_EQ(chunk.error().code, Errc::corrupt);
}

TEST(FrameCache, AFrameWhoseEntriesLeaveItIsCorrupt) {
  const auto id = cas::hash_of(random_bytes(1, 100));
  for (const cas::DecodedFrame::Entry entry :
       {cas::DecodedFrame::Entry{id, 1, 100}, {id, 101, 1}, {id, ~0u, 1}, {id, 0, 0}}) {
    OneFrameSource source{{{entry}, cas::FrameBuffer{100}}};
    FrameCache cache{source, 1u << 20};
    const auto chunk = cache.get(id);
    ASSERT_FALSE(chunk);
    EXPECT_EQ(chunk.error().code, Errc::corrupt);
  }
}

}  // namespace
}  // namespace stellarium::tier
