#include "fs/block_map.h"

#include <gtest/gtest.h>

#include "fs/families.h"
#include "fs/tinyvol.h"
#include "support/fs_layers.h"
#include "support/image_store.h"

namespace stellarium::fs {
namespace {

using test::must;

Extent extent(std::string_view bytes) {
  return {cas::hash_of(as_bytes(bytes)), kVolumeBlock};
}

class BlockMapTest : public testing::Test {
 protected:
  void make_map(MapId map, MapId parent) {
    cas::Database::Batch batch;
    batch.put(kMapFamily, map_key(map), encode_map({parent}));
    must(database_->write(std::move(batch), cas::Database::Sync::no));
  }
  BlockMap open(MapId map) { return must(BlockMap::open(*database_, map)); }
  void put(MapId map, std::uint64_t block, const Extent& what) {
    cas::Database::Batch batch;
    open(map).put(batch, block, what);
    must(database_->write(std::move(batch), cas::Database::Sync::no));
  }

  test::TempDir dir_;
  std::unique_ptr<cas::Database> database_ = test::open_database(dir_ / "db");
};

TEST_F(BlockMapTest, SaysZerosWhereNothingWasPut) {
  make_map(1, 0);
  EXPECT_TRUE(must(open(1).find(0)).is_zeros());
  EXPECT_TRUE(must(open(1).list(0, 100)).empty());
  EXPECT_TRUE(must(open(1).top_is_empty()));
}

TEST_F(BlockMapTest, AsksItsParentsAndHidesWhatTheySay) {
  make_map(1, 0);
  put(1, 5, extent("a"));
  put(1, 6, extent("b"));
  put(1, 7, extent("c"));
  make_map(2, 1);
  make_map(3, 1);
  put(2, 6, extent("other"));
  put(2, 7, {});
  EXPECT_EQ(must(open(2).find(5)), extent("a"));
  EXPECT_EQ(must(open(2).find(6)), extent("other"));
  EXPECT_TRUE(must(open(2).find(7)).is_zeros());
  EXPECT_EQ(must(open(2).list(0, 100)), (BlockMap::Blocks{{5, extent("a")}, {6, extent("other")}}));
  EXPECT_EQ(must(open(3).list(6, 8)), (BlockMap::Blocks{{6, extent("b")}, {7, extent("c")}}))
      << "its sister knows nothing of it";
}

TEST_F(BlockMapTest, MergesItsUppermostMapsAndKeepsTheZerosThatHide) {
  make_map(1, 0);
  put(1, 5, extent("a"));
  put(1, 6, extent("b"));
  make_map(2, 1);
  put(2, 6, extent("c"));
  put(2, 7, extent("d"));
  make_map(3, 2);
  put(3, 5, {});
  put(3, 7, {});
  EXPECT_EQ(must(open(3).merged(1)), (BlockMap::Blocks{{5, {}}, {7, {}}}));
  EXPECT_EQ(must(open(3).merged(2)), (BlockMap::Blocks{{5, {}}, {6, extent("c")}, {7, {}}}));
  EXPECT_EQ(must(open(3).merged(3)), (BlockMap::Blocks{{6, extent("c")}}));
}

TEST_F(BlockMapTest, MergesWhatIsAboveAMapMoreThanTwiceAsLarge) {
  const auto grow = [this](MapId map, std::uint64_t blocks) {
    make_map(map, map - 1);
    for (std::uint64_t block = 0; block < blocks; ++block) put(map, block, extent("x"));
  };
  grow(1, 100);
  EXPECT_EQ(must(open(1).depth_to_merge(0)), 1u);
  grow(2, 13);
  grow(3, 2);
  grow(4, 2);
  grow(5, 2);
  EXPECT_EQ(must(open(5).depth_to_merge(1)), 3u) << "above the 13";
  EXPECT_EQ(must(open(5).depth_to_merge(3)), 4u) << "above the 100, since it must become shorter by three";
  EXPECT_EQ(must(open(5).depth_to_merge(4)), 5u);
  grow(6, 60);
  EXPECT_EQ(must(open(6).depth_to_merge(1)), 6u) << "all: the 100 are not twice the 79";
}

TEST_F(BlockMapTest, WithoutAParentNeedsNoRecordOfZeros) {
  make_map(1, 0);
  put(1, 5, extent("a"));
  put(1, 5, {});
  EXPECT_TRUE(must(open(1).top_is_empty()));
}

TEST_F(BlockMapTest, KeepsNeighbouringMapsApart) {
  make_map(1, 0);
  make_map(2, 0);
  put(2, 0, extent("a"));
  EXPECT_TRUE(must(open(1).top_is_empty()));
  EXPECT_TRUE(must(open(1).list(0, ~std::uint64_t{0} >> 1)).empty());
}

TEST_F(BlockMapTest, RefusesChainsThatBreakLoopOrNeverEnd) {
  EXPECT_EQ(BlockMap::open(*database_, 9).error().code, Errc::corrupt);
  make_map(2, 1);
  EXPECT_EQ(BlockMap::open(*database_, 2).error().code, Errc::corrupt);
  make_map(3, 3);
  EXPECT_EQ(BlockMap::open(*database_, 3).error().code, Errc::corrupt);
  make_map(100, 0);
  for (MapId map = 101; map < 100 + BlockMap::kMaxChain; ++map) make_map(map, map - 1);
  EXPECT_EQ(open(99 + BlockMap::kMaxChain).chain().size(), BlockMap::kMaxChain);
  make_map(100 + BlockMap::kMaxChain, 99 + BlockMap::kMaxChain);
  EXPECT_EQ(BlockMap::open(*database_, 100 + BlockMap::kMaxChain).error().code, Errc::corrupt);
}

}  // namespace
}  // namespace stellarium::fs
