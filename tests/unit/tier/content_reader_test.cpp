#include "tier/content_reader.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "unit/tier/memory_store.h"

namespace stellarium::tier {
namespace {

using testing::MemoryStore;
using testing::random_bytes;
using testing::same_bytes;

class ContentReaderTest : public ::testing::Test {
 protected:
  std::vector<std::byte> read(const ContentRef& content, std::uint64_t offset, std::size_t size) {
    std::vector<std::byte> bytes(size);
    const auto done = reader_.read(content, offset, bytes);
    EXPECT_TRUE(done) << to_string(done.error());
    return bytes;
  }

  MemoryStore store_;
  FrameCache frames_{store_, 4u << 20};
  RecipeCache recipes_{store_, nullptr, 1u << 20};
  ContentReader reader_{frames_, recipes_};
};

// Data, then a hole that is not a multiple of a chunk, then data again.
std::vector<std::byte> sparse_bytes(std::size_t hole) {
  auto bytes = random_bytes(3, 300'000);
  bytes.resize(bytes.size() + hole);
  const auto tail = random_bytes(4, 100'001);
  bytes.insert(bytes.end(), tail.begin(), tail.end());
  return bytes;
}

TEST_F(ContentReaderTest, AnyRangeOfAContentIsRight) {
  const auto bytes = sparse_bytes(1'000'003);
  const auto content = store_.add(bytes);
  std::mt19937 random{5};
  for (int i = 0; i < 500; ++i) {
    const std::size_t offset = random() % bytes.size();
    const std::size_t size = 1 + random() % std::min<std::size_t>(300'000, bytes.size() - offset);
    ASSERT_TRUE(same_bytes(read(content, offset, size), ByteSpan{bytes}.subspan(offset, size)))
        << offset << " " << size;
  }
}

TEST_F(ContentReaderTest, ARangeInMemoryIsReadWithoutTheSource) {
  const auto bytes = random_bytes(1, 500'000);
  const auto content = store_.add(bytes);
  std::vector<std::byte> out(bytes.size());
  EXPECT_FALSE(reader_.read_if_present(content, 0, out));
  EXPECT_EQ(read(content, 0, bytes.size()), bytes);
  const unsigned before = store_.fetches;
  ASSERT_TRUE(reader_.read_if_present(content, 0, out));
  EXPECT_EQ(out, bytes);
  EXPECT_EQ(store_.fetches, before);
}

TEST(ContentReaderZeros, AHoleNeedsNoChunk) {
  MemoryStore store{/*chunk_size=*/cas::kMaxChunk};
  const auto content = store.add(std::vector<std::byte>(10u << 20));
  FrameCache frames{store, 1u << 20};
  RecipeCache recipes{store, nullptr, 1u << 20};
  ContentReader reader{frames, recipes};
  std::vector<std::byte> out(3u << 20, std::byte{1});
  ASSERT_TRUE(reader.read(content, 12'345, out));
  EXPECT_EQ(out, std::vector<std::byte>(3u << 20));
  EXPECT_EQ(store.fetches, 0u);
  EXPECT_EQ((*reader.map_of(content))->data_bytes(), 0u);
}

TEST_F(ContentReaderTest, ARunTakesAllNeighboursOfAFrame) {
  const auto bytes = random_bytes(1, 1u << 20);  // frames of 8 chunks of 32 KiB
  const auto map = reader_.map_of(store_.add(bytes));
  ASSERT_TRUE(map);
  const auto run = reader_.run_at(**map, 0, bytes.size());
  ASSERT_TRUE(run);
  EXPECT_EQ(run->size(), 256u << 10);
}

TEST_F(ContentReaderTest, ASizeThatIsNotTheChunksIsCorrupt) {
  const auto content = store_.add(random_bytes(1, 1000));
  std::vector<std::byte> out(10);
  const auto wrong = reader_.read({content.id, 999}, 0, out);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::corrupt);
}

TEST_F(ContentReaderTest, AMissingChunkIsAnErrorThatNamesContentAndOffset) {
  const auto bytes = random_bytes(1, 500'000);
  const auto content = store_.add(bytes);
  store_.failing = true;
  std::vector<std::byte> out(100);
  const auto missing = reader_.read(content, 70'000, out);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().context.find(content.id.hex()), std::string::npos);
  EXPECT_NE(missing.error().context.find("70000"), std::string::npos);
}

}  // namespace
}  // namespace stellarium::tier
