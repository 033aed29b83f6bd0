#include "fs/fuse/listing_ahead.h"

#include <gtest/gtest.h>

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint32_t kSize = 32u << 10;

class ListingAheadTest : public testing::Test {
 protected:
  static NodeId folder(std::uint64_t number) { return NodeId{100 + number}; }
  void listed(std::uint64_t number, const std::vector<std::uint64_t>& children) {
    std::vector<NodeId> folders;
    for (const std::uint64_t child : children) folders.push_back(folder(child));
    ahead_.listed(folder(number), folders);
  }
  ListingAhead ahead_;
};

TEST_F(ListingAheadTest, FollowsAWalkDownAndBackUp) {
  listed(0, {1, 4});
  EXPECT_EQ(ahead_.next(kSize), std::nullopt);  // no walk yet
  listed(1, {2, 3});
  EXPECT_EQ(ahead_.next(kSize), folder(2));
  listed(2, {});
  EXPECT_EQ(ahead_.next(kSize), folder(3));
  listed(3, {});
  EXPECT_EQ(ahead_.next(kSize), folder(4));
  listed(4, {});
  EXPECT_EQ(ahead_.next(kSize), std::nullopt);
}

TEST_F(ListingAheadTest, GivesUpAtAStepThatNoWalkTakes) {
  listed(0, {1, 2});
  listed(1, {});
  listed(7, {8, 9});
  EXPECT_EQ(ahead_.next(kSize), std::nullopt);
  listed(8, {});
  EXPECT_EQ(ahead_.next(kSize), folder(9));
}

TEST_F(ListingAheadTest, KeepsOneListingForOneQuestion) {
  listed(0, {1, 2});
  listed(1, {});
  ahead_.keep({folder(2), kSize, "entries", std::nullopt, {}});
  EXPECT_EQ(ahead_.next(kSize), std::nullopt);  // it is there already
  EXPECT_FALSE(ahead_.take(folder(2), kSize - 1));
  EXPECT_FALSE(ahead_.take(folder(1), kSize));
  const auto taken = ahead_.take(folder(2), kSize);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->payload, "entries");
  EXPECT_FALSE(ahead_.take(folder(2), kSize));
  EXPECT_FALSE(ahead_.take(NodeId{}, 0));
}

TEST_F(ListingAheadTest, RemembersNoMoreThanItSays) {
  std::vector<std::uint64_t> many(ListingAhead::kMaxFolders + 1);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = 10 + i;
  listed(0, many);
  listed(10, {5});
  EXPECT_EQ(ahead_.next(kSize), std::nullopt);  // given up: what it left out would come later
  EXPECT_EQ(ahead_.next(ListingAhead::kMaxSize + 1), std::nullopt);
}

}  // namespace
}  // namespace stellarium::fs::fuse
