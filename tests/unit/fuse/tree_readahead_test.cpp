#include "fs/fuse/tree_readahead.h"

#include <gtest/gtest.h>

namespace stellarium::fs::fuse {
namespace {

constexpr TreeId kTree = 3;

TEST(TreeReadahead, OneMissIsNoSeries) {
  TreeReadahead readahead;
  EXPECT_FALSE(readahead.note(kTree, 100, true));
}

TEST(TreeReadahead, TheSecondFileInOrderOpensAWindowBehindIt) {
  TreeReadahead readahead;
  readahead.note(kTree, 100, true);
  const auto range = readahead.note(kTree, 101, true);
  ASSERT_TRUE(range);
  EXPECT_EQ(range->begin, 102u);
  EXPECT_GT(range->end, 130u);
}

TEST(TreeReadahead, WindowsFollowEachOtherWithoutGapsWhileTheReaderGoesOn) {
  TreeReadahead readahead;
  readahead.note(kTree, 100, true);
  Ino fetched = 102;
  for (Ino ino = 101; ino < 1000; ++ino) {
    if (const auto range = readahead.note(kTree, ino, false)) {
      EXPECT_EQ(range->begin, fetched);
      fetched = range->end;
    }
    EXPECT_GT(fetched, ino + 1) << "the reader has caught up";
  }
}

TEST(TreeReadahead, FilesInNoOrderAreNoSeries) {
  TreeReadahead readahead;
  for (const Ino ino : {500u, 100u, 900u, 300u, 700u}) EXPECT_FALSE(readahead.note(kTree, ino, true));
}

TEST(TreeReadahead, WarmReadersCauseNothing) {
  TreeReadahead readahead;
  for (Ino ino = 100; ino < 200; ++ino) EXPECT_FALSE(readahead.note(kTree, ino, false));
}

TEST(TreeReadahead, ReadersOfDifferentFoldersKeepTheirWindows) {
  TreeReadahead readahead;
  readahead.note(kTree, 100, true);
  readahead.note(kTree, 5000, true);
  EXPECT_TRUE(readahead.note(kTree, 101, true));
  EXPECT_TRUE(readahead.note(kTree, 5001, true));
  EXPECT_FALSE(readahead.note(kTree + 1, 102, true)) << "the same numbers of another tree are other files";
}

TEST(TreeReadahead, AWindowThatBroughtNothingEndsTheSeries) {
  TreeReadahead readahead;
  readahead.note(kTree, 100, true);
  const auto range = readahead.note(kTree, 101, true);
  ASSERT_TRUE(range);
  readahead.was_useless(kTree, *range);
  for (Ino ino = 102; ino < 300; ++ino) EXPECT_FALSE(readahead.note(kTree, ino, false));
}

}  // namespace
}  // namespace stellarium::fs::fuse
