#include <gtest/gtest.h>

#include <cerrno>
#include <cstdio>

#include "fs/writable_tree.h"
#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

using test::new_directory;
using test::new_file;
using test::refusal;

class TreeRenameTest : public testing::Test {
 protected:
  Ino make(Ino parent, std::string_view name, const WritableTree::NewNode& node = new_file()) {
    return tree_->make(parent, name, node, {}).value().ino;
  }
  int rename(Ino parent, std::string_view name, Ino to, std::string_view new_name, unsigned flags = 0) {
    return refusal(tree_->rename(parent, name, to, new_name, flags, {}));
  }

  test::WrittenTree tree_;
};

TEST_F(TreeRenameTest, MovesAFileToAnotherDirectory) {
  const auto renamed = tree_->rename(3, "dash", kRootIno, "shell", 0, {});
  ASSERT_TRUE(renamed);
  EXPECT_EQ(renamed->moved.ino, 4u);
  EXPECT_FALSE(renamed->replaced);
  EXPECT_EQ(tree_.find("shell"), 4u);
  EXPECT_EQ(tree_.find("usr/bin/dash"), 0u);
  EXPECT_EQ(tree_.entry(3, "dash"), DirentValue::whiteout());
  const Timespec time = tree_.stat(4).ctime;
  EXPECT_GT(time, Timespec{});
  EXPECT_EQ(tree_.stat(4).mtime, Timespec{});
  for (const Ino directory : {Ino{3}, kRootIno}) {
    EXPECT_EQ(tree_.stat(directory).mtime, time);
    EXPECT_EQ(tree_.stat(directory).ctime, time);
  }
  EXPECT_EQ(tree_.xattrs(4).size(), 2u);
}

TEST_F(TreeRenameTest, MovesADirectoryWithAllThatIsInIt) {
  ASSERT_EQ(rename(2, "bin", kRootIno, "bin"), 0);
  EXPECT_EQ(tree_.find("bin/dash"), 4u);
  EXPECT_EQ(tree_.find("bin/.."), kRootIno);
  EXPECT_EQ(tree_.stat(3).parent, kRootIno);
  EXPECT_EQ(tree_.stat(3).mtime, Timespec{});
  EXPECT_EQ(tree_.stat(2).nlink, 2u);
  EXPECT_EQ(tree_.stat(kRootIno).nlink, 4u);
  ASSERT_EQ(rename(kRootIno, "bin", kRootIno, "sbin"), 0);
  EXPECT_EQ(tree_.stat(kRootIno).nlink, 4u);
  EXPECT_FALSE(tree_.has_record(4)) << "what is in it does not change";
}

TEST_F(TreeRenameTest, ReplacesAFile) {
  const auto renamed = tree_->rename(kRootIno, "empty", kRootIno, "hello", 0, {});
  ASSERT_TRUE(renamed);
  ASSERT_TRUE(renamed->replaced);
  EXPECT_EQ(renamed->replaced->ino, 6u);
  EXPECT_EQ(renamed->replaced->inode.nlink, 1u);
  EXPECT_EQ(renamed->replaced->inode, tree_.stat(6));
  EXPECT_EQ(tree_.find("hello"), 7u);
  EXPECT_EQ(tree_.find("empty"), 0u);
  EXPECT_EQ(tree_.find("usr/hello"), 6u);
}

TEST_F(TreeRenameTest, ReplacesAnEmptyDirectoryOnly) {
  const Ino empty = make(2, "empty", new_directory());
  const Ino moved = make(kRootIno, "moved", new_directory());
  make(moved, "x");
  EXPECT_EQ(rename(2, "empty", kRootIno, "moved"), ENOTEMPTY);
  EXPECT_EQ(rename(kRootIno, "hello", 2, "empty"), EISDIR);
  EXPECT_EQ(rename(2, "empty", kRootIno, "hello"), ENOTDIR);
  const auto renamed = tree_->rename(kRootIno, "moved", 2, "empty", 0, {});
  ASSERT_TRUE(renamed && renamed->replaced);
  EXPECT_EQ(renamed->replaced->ino, empty);
  EXPECT_EQ(renamed->replaced->inode.nlink, 0u);
  EXPECT_EQ(tree_.find("usr/empty"), moved);
  EXPECT_EQ(tree_.stat(2).nlink, 4u);
  EXPECT_EQ(tree_.stat(kRootIno).nlink, 3u);
}

TEST_F(TreeRenameTest, RefusesToMoveADirectoryIntoItself) {
  const Ino deep = make(make(3, "a", new_directory()), "b", new_directory());
  EXPECT_EQ(rename(kRootIno, "usr", deep, "usr"), EINVAL);
  EXPECT_EQ(rename(kRootIno, "usr", 2, "usr"), EINVAL);
  EXPECT_EQ(rename(kRootIno, "usr", deep, "usr", RENAME_NOREPLACE), EINVAL);
  EXPECT_EQ(rename(3, "a", kRootIno, "usr"), ENOTEMPTY);
  EXPECT_EQ(rename(3, "a", kRootIno, "usr", RENAME_EXCHANGE), EINVAL);
  EXPECT_EQ(tree_.find("usr/bin/a/b"), deep);
}

TEST_F(TreeRenameTest, DoesNothingBetweenTwoNamesOfOneInode) {
  EXPECT_EQ(rename(kRootIno, "hello", 2, "hello"), 0);
  EXPECT_EQ(rename(kRootIno, "hello", kRootIno, "hello"), 0);
  EXPECT_EQ(rename(kRootIno, "hello", 2, "hello", RENAME_EXCHANGE), 0);
  EXPECT_EQ(rename(kRootIno, "hello", 2, "hello", RENAME_NOREPLACE), EEXIST);
  EXPECT_FALSE(tree_.has_record(6));
  EXPECT_FALSE(tree_.has_record(kRootIno));
  int notes = 0;
  EXPECT_TRUE(
      tree_->rename(kRootIno, "hello", 2, "hello", 0, [&](cas::Database::Batch&, const WritableTree::Entry& entry) {
        ++notes;
        EXPECT_EQ(entry.ino, 6u);
      }));
  EXPECT_EQ(notes, 1);
}

TEST_F(TreeRenameTest, RefusesWhatTheFlagsForbid) {
  EXPECT_EQ(rename(kRootIno, "empty", kRootIno, "hello", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(rename(kRootIno, "empty", kRootIno, "new", RENAME_EXCHANGE), ENOENT);
  EXPECT_EQ(rename(kRootIno, "empty", kRootIno, "new", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
  EXPECT_EQ(rename(kRootIno, "empty", kRootIno, "hello", RENAME_EXCHANGE | RENAME_WHITEOUT), EINVAL);
  EXPECT_EQ(rename(kRootIno, "empty", kRootIno, "new", 8), EINVAL);
  EXPECT_EQ(rename(kRootIno, "nothing", kRootIno, "new"), ENOENT);
  EXPECT_EQ(rename(4, "x", kRootIno, "new"), ENOTDIR);
  EXPECT_EQ(rename(kRootIno, "empty", 4, "new"), ENOTDIR);
  EXPECT_EQ(rename(kRootIno, "empty", kRootIno, ".."), EINVAL);
  EXPECT_EQ(rename(kRootIno, "empty", kRootIno, "new", RENAME_NOREPLACE), 0);
}

TEST_F(TreeRenameTest, ExchangesAFileAndADirectory) {
  const auto renamed = tree_->rename(2, "bin", kRootIno, "hello", RENAME_EXCHANGE, {});
  ASSERT_TRUE(renamed && renamed->replaced);
  EXPECT_EQ(renamed->moved.ino, 3u);
  EXPECT_EQ(renamed->replaced->ino, 6u);
  EXPECT_EQ(renamed->replaced->inode.nlink, 2u);
  EXPECT_EQ(tree_.find("hello/dash"), 4u);
  EXPECT_EQ(tree_.find("usr/bin"), 6u);
  EXPECT_EQ(tree_.stat(3).parent, kRootIno);
  EXPECT_EQ(tree_.stat(2).nlink, 2u);
  EXPECT_EQ(tree_.stat(kRootIno).nlink, 4u);
  EXPECT_EQ(tree_.entry(2, "bin")->type, DT_REG);
  EXPECT_EQ(tree_.entry(kRootIno, "hello")->type, DT_DIR);
}

TEST_F(TreeRenameTest, ExchangesTwoDirectories) {
  const Ino mine = make(kRootIno, "mine", new_directory());
  ASSERT_EQ(rename(2, "bin", kRootIno, "mine", RENAME_EXCHANGE), 0);
  EXPECT_EQ(tree_.find("usr/bin"), mine);
  EXPECT_EQ(tree_.stat(mine).parent, 2u);
  EXPECT_EQ(tree_.stat(3).parent, kRootIno);
  EXPECT_EQ(tree_.stat(2).nlink, 3u);
  EXPECT_EQ(tree_.stat(kRootIno).nlink, 4u);
}

TEST_F(TreeRenameTest, LeavesAWhiteoutDeviceWhereOverlayfsWantsOne) {
  ASSERT_EQ(rename(kRootIno, "hello", kRootIno, "moved", RENAME_WHITEOUT), 0);
  EXPECT_EQ(tree_.find("moved"), 6u);
  const Inode device = tree_.stat(tree_.find("hello"));
  EXPECT_EQ(device.mode, std::uint32_t{S_IFCHR});
  EXPECT_EQ(device.rdev, 0u);
  EXPECT_EQ(device.nlink, 1u);
  EXPECT_GT(device.mtime, Timespec{});
  EXPECT_EQ(rename(kRootIno, "moved", kRootIno, "empty", RENAME_WHITEOUT | RENAME_NOREPLACE), EEXIST);
}

TEST_F(TreeRenameTest, BringsBackANameThatWasHidden) {
  ASSERT_EQ(rename(kRootIno, "hello", 2, "x"), 0);
  tree_.stack();
  ASSERT_EQ(rename(2, "x", kRootIno, "hello"), 0);
  EXPECT_EQ(tree_.find("hello"), 6u);
  EXPECT_EQ(tree_.entry(2, "x"), DirentValue::whiteout());
  EXPECT_EQ(tree_.stat(6).nlink, 2u);
}

}  // namespace
}  // namespace stellarium::fs
