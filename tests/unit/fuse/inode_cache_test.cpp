#include "fs/fuse/inode_cache.h"

#include <gtest/gtest.h>

#include "fs/fuse/listing_ends.h"

namespace stellarium::fs::fuse {
namespace {

Inode of_size(std::uint64_t size) {
  Inode inode;
  inode.size = size;
  return inode;
}

TEST(InodeCache, FindsWhatWasInserted) {
  InodeCache cache;
  EXPECT_FALSE(cache.find(NodeId::of(1, 5)));
  EXPECT_FALSE(cache.find(NodeId{}));
  cache.insert(NodeId::of(1, 5), of_size(7));
  EXPECT_EQ(cache.find(NodeId::of(1, 5)), of_size(7));
  EXPECT_FALSE(cache.find(NodeId::of(2, 5)));
}

TEST(InodeCache, KeepsTheFilesOfAFolderBesideEachOther) {
  InodeCache cache;
  for (Ino ino = 1000; ino < 1500; ++ino) cache.insert(NodeId::of(3, ino), of_size(ino));
  for (Ino ino = 1000; ino < 1500; ++ino) EXPECT_EQ(cache.find(NodeId::of(3, ino)), of_size(ino));
}

TEST(InodeCache, AnInodeOnTheSamePlaceTakesIt) {
  InodeCache cache;
  for (Ino ino = 1; ino < 5000; ++ino) cache.insert(NodeId::of(3, ino), of_size(ino));
  for (Ino ino = 1; ino < 5000; ++ino) {
    const auto found = cache.find(NodeId::of(3, ino));
    EXPECT_TRUE(!found || found->size == ino);
  }
  EXPECT_TRUE(cache.find(NodeId::of(3, 4999)));
}

TEST(ListingEnds, KnowsTheLastEntryOfAFolderOnly) {
  ListingEnds ends;
  EXPECT_FALSE(ends.contains(NodeId::of(1, 5), 0));
  EXPECT_FALSE(ends.contains(NodeId{}, 0));
  ends.insert(NodeId::of(1, 5), 77);
  EXPECT_TRUE(ends.contains(NodeId::of(1, 5), 77));
  EXPECT_FALSE(ends.contains(NodeId::of(1, 5), 76));
  EXPECT_FALSE(ends.contains(NodeId::of(2, 5), 77));
}

}  // namespace
}  // namespace stellarium::fs::fuse
