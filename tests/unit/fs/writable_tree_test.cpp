#include "fs/writable_tree.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <ctime>
#include <set>
#include <thread>

#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

using test::new_directory;
using test::new_file;
using test::refusal;

class WritableTreeTest : public testing::Test {
 protected:
  Ino make(Ino parent, std::string_view name, const WritableTree::NewNode& node = new_file()) {
    return tree_->make(parent, name, node, {}).value().ino;
  }
  static Timespec now() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return {now.tv_sec, static_cast<std::uint32_t>(now.tv_nsec)};
  }
  void expect_touched(Ino directory, Timespec since) {
    const Inode inode = tree_.stat(directory);
    EXPECT_GE(inode.mtime, since) << directory;
    EXPECT_EQ(inode.ctime, inode.mtime) << directory;
  }

  test::WrittenTree tree_;
};

TEST_F(WritableTreeTest, OpensWritableLayersOverTheirParentOnly) {
  EXPECT_FALSE(WritableTree::open(tree_.database(), {1}));
  EXPECT_FALSE(WritableTree::open(tree_.database(), {2}));
  EXPECT_FALSE(WritableTree::open(tree_.database(), {1, 2}));
  EXPECT_FALSE(WritableTree::open(tree_.database(), {2, 3}));
  EXPECT_FALSE(WritableTree::open(tree_.database(), {}));
  EXPECT_TRUE(WritableTree::open(tree_.database(), {2, 1}));
  tree_.stack();
  EXPECT_FALSE(WritableTree::open(tree_.database(), {2, 1}));
}

TEST_F(WritableTreeTest, MakesEveryKindOfNode) {
  const Timespec before = now();
  const Ino ino = make(2, "file", {.mode = S_IFREG | 0755, .umask = 027, .uid = 7, .gid = 8, .staged = 99});
  const Inode file = tree_.stat(ino);
  EXPECT_EQ(file.mode, S_IFREG | 0750u);
  EXPECT_EQ(file.uid, 7u);
  EXPECT_EQ(file.gid, 8u);
  EXPECT_EQ(file.nlink, 1u);
  EXPECT_EQ(file.body, Body::staged);
  EXPECT_EQ(file.staged, 99u);
  EXPECT_TRUE(file.program);
  EXPECT_GE(file.mtime, before);
  for (const Timespec& time : {file.atime, file.ctime, file.btime}) EXPECT_EQ(time, file.mtime);
  EXPECT_EQ(tree_.stat(2).mtime, file.mtime);
  expect_touched(2, before);

  const Ino link = make(2, "link", {.mode = S_IFLNK, .umask = 077, .symlink = "../x"});
  EXPECT_EQ(tree_.stat(link).mode, S_IFLNK | 0777u);
  EXPECT_EQ(tree_.stat(link).inline_bytes, "../x");
  EXPECT_EQ(tree_.stat(link).size, 4u);
  const Ino device = make(2, "device", {.mode = S_IFBLK | 0600, .rdev = 0x801});
  EXPECT_EQ(tree_.stat(device).rdev, 0x801u);
  for (const std::uint32_t type : {0u + S_IFIFO, 0u + S_IFSOCK, 0u + S_IFCHR}) {
    const Ino node = make(2, "node" + std::to_string(type), {.mode = type | 0600});
    EXPECT_EQ(tree_.stat(node).mode, type | 0600);
  }
  EXPECT_EQ(tree_.stat(2).nlink, 3u);
  const Ino directory = make(2, "directory", new_directory());
  EXPECT_EQ(tree_.stat(directory).nlink, 2u);
  EXPECT_EQ(tree_.stat(directory).parent, 2u);
  EXPECT_EQ(tree_.stat(2).nlink, 4u);
  EXPECT_EQ(tree_.find("usr/file"), ino);
  EXPECT_EQ(tree_.find("usr/directory/.."), 2u);
}

TEST_F(WritableTreeTest, RefusesWhatCannotBeMade) {
  EXPECT_EQ(refusal(tree_->make(2, "bin", new_file(), {})), EEXIST);
  EXPECT_EQ(refusal(tree_->make(4, "x", new_file(), {})), ENOTDIR);
  EXPECT_EQ(refusal(tree_->make(4711, "x", new_file(), {})), ESTALE);
  EXPECT_EQ(refusal(tree_->make(2, std::string(256, 'x'), new_file(), {})), ENAMETOOLONG);
  for (const char* name : {"", ".", "..", "a/b"}) EXPECT_EQ(refusal(tree_->make(2, name, new_file(), {})), EINVAL);
  const WritableTree::NewNode impossible[] = {
      {.mode = 0644},
      {.mode = S_IFREG | 0644 | 0x80000000},
      {.mode = S_IFREG | 0644, .rdev = 5},
      {.mode = S_IFREG | 0644, .symlink = "x"},
      {.mode = S_IFLNK},
      {.mode = S_IFDIR | 0755, .staged = 5},
      {.mode = S_IFLNK, .symlink = "x", .staged = 5},
  };
  for (const auto& node : impossible) EXPECT_EQ(refusal(tree_->make(2, "x", node, {})), EINVAL);
  EXPECT_EQ(refusal(tree_->make(2, "x", {.mode = S_IFLNK, .symlink = std::string(4096, 'x')}, {})), ENAMETOOLONG);
  EXPECT_EQ(tree_.find("usr/x"), 0u);
  EXPECT_FALSE(tree_.has_record(2)) << "a refusal has changed something";
}

TEST_F(WritableTreeTest, MakesNothingInARemovedDirectory) {
  const Ino directory = make(kRootIno, "gone", new_directory());
  ASSERT_TRUE(tree_->rmdir(kRootIno, "gone", {}));
  EXPECT_EQ(refusal(tree_->make(directory, "x", new_file(), {})), ENOENT);
  EXPECT_EQ(refusal(tree_->link(7, directory, "x", {})), ENOENT);
  EXPECT_EQ(refusal(tree_->rename(kRootIno, "empty", directory, "x", 0, {})), ENOENT);
}

TEST_F(WritableTreeTest, UnnamedFilesCanBeLinkedLater) {
  const auto made = tree_->make_unnamed(2, new_file(0600), {});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->inode.nlink, 0u);
  EXPECT_FALSE(tree_.has_record(2));
  EXPECT_EQ(tree_->orphans()->size(), 1u);
  EXPECT_EQ(refusal(tree_->make_unnamed(2, new_directory(), {})), EINVAL);
  ASSERT_TRUE(tree_->link(made->ino, 2, "named", {}));
  EXPECT_EQ(tree_.find("usr/named"), made->ino);
  EXPECT_EQ(tree_.stat(made->ino).nlink, 1u);
  EXPECT_EQ(tree_->orphans()->size(), 0u);
}

TEST_F(WritableTreeTest, LinksCountNames) {
  const Timespec before = now();
  const auto linked = tree_->link(4, kRootIno, "dash", {});
  ASSERT_TRUE(linked);
  EXPECT_EQ(linked->inode.nlink, 2u);
  EXPECT_EQ(tree_.find("dash"), 4u);
  EXPECT_GE(tree_.stat(4).ctime, before);
  EXPECT_EQ(tree_.stat(4).mtime, Timespec{});
  expect_touched(kRootIno, before);
  EXPECT_EQ(tree_.xattrs(4), (std::map<std::string, std::string>{{"user.one", "1"}, {"user.two", "2"}}));
  EXPECT_EQ(refusal(tree_->link(4, kRootIno, "empty", {})), EEXIST);
  EXPECT_EQ(refusal(tree_->link(3, kRootIno, "bin", {})), EPERM);
  EXPECT_EQ(refusal(tree_->link(4711, kRootIno, "x", {})), ESTALE);
}

TEST_F(WritableTreeTest, RefusesMoreThan65000Links) {
  Inode many = test::make_file("many");
  many.nlink = 64'999;
  tree_.put("many", kRootIno, 20, many);
  EXPECT_TRUE(tree_->link(20, kRootIno, "one", {}));
  EXPECT_EQ(refusal(tree_->link(20, kRootIno, "two", {})), EMLINK);
}

TEST_F(WritableTreeTest, HidesTheNamesOfLowerLayersAndErasesItsOwn) {
  const Timespec before = now();
  const auto removed = tree_->unlink(kRootIno, "empty", {});
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->ino, 7u);
  EXPECT_EQ(removed->inode.nlink, 0u);
  EXPECT_GE(removed->inode.ctime, before);
  expect_touched(kRootIno, before);
  EXPECT_EQ(tree_.find("empty"), 0u);
  EXPECT_EQ(tree_.entry(kRootIno, "empty"), DirentValue::whiteout());
  EXPECT_EQ(refusal(tree_->unlink(kRootIno, "empty", {})), ENOENT);

  const Ino again = make(kRootIno, "empty");
  EXPECT_EQ(tree_.entry(kRootIno, "empty")->ino, again);
  ASSERT_TRUE(tree_->unlink(kRootIno, "empty", {}));
  EXPECT_EQ(tree_.entry(kRootIno, "empty"), DirentValue::whiteout());

  make(kRootIno, "mine");
  ASSERT_TRUE(tree_->unlink(kRootIno, "mine", {}));
  EXPECT_EQ(tree_.entry(kRootIno, "mine"), std::nullopt);
}

TEST_F(WritableTreeTest, ErasesANameThatALowerLayerHidesAlready) {
  ASSERT_TRUE(tree_->unlink(kRootIno, "empty", {}));
  tree_.stack();
  EXPECT_EQ(tree_.find("empty"), 0u);
  make(kRootIno, "empty");
  ASSERT_TRUE(tree_->unlink(kRootIno, "empty", {}));
  EXPECT_EQ(tree_.entry(kRootIno, "empty"), std::nullopt);
  EXPECT_EQ(tree_.find("empty"), 0u);
}

TEST_F(WritableTreeTest, UnlinkKeepsAnInodeThatHasOtherNames) {
  ASSERT_EQ(tree_->unlink(2, "hello", {}).value().inode.nlink, 1u);
  EXPECT_EQ(tree_.find("hello"), 6u);
  ASSERT_EQ(tree_->unlink(kRootIno, "hello", {}).value().inode.nlink, 0u);
  EXPECT_EQ(tree_.stat(6).content, test::make_file("hello").content);
}

TEST_F(WritableTreeTest, RemovesFilesAndEmptyDirectoriesEachInItsWay) {
  EXPECT_EQ(refusal(tree_->unlink(2, "bin", {})), EISDIR);
  EXPECT_EQ(refusal(tree_->rmdir(kRootIno, "hello", {})), ENOTDIR);
  EXPECT_EQ(refusal(tree_->rmdir(2, "bin", {})), ENOTEMPTY);
  EXPECT_EQ(refusal(tree_->rmdir(2, "nothing", {})), ENOENT);
  ASSERT_TRUE(tree_->unlink(3, "dash", {}));
  make(3, "new");
  ASSERT_TRUE(tree_->unlink(3, "sh", {}));
  EXPECT_EQ(refusal(tree_->rmdir(2, "bin", {})), ENOTEMPTY);
  ASSERT_TRUE(tree_->unlink(3, "new", {}));
  const auto removed = tree_->rmdir(2, "bin", {});
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->inode.nlink, 0u);
  EXPECT_EQ(tree_.stat(2).nlink, 2u);
  EXPECT_EQ(tree_.find("usr/bin"), 0u);
}

TEST_F(WritableTreeTest, NamesOfOneHashGetRanksOfTheirOwn) {
  const auto [first, second] = test::kTwinNames;
  ASSERT_EQ(name_hash(first), name_hash(second));
  const Ino one = make(2, first), two = make(2, second);
  EXPECT_EQ(tree_.entry(2, first, 0)->ino, one);
  EXPECT_EQ(tree_.entry(2, second, 1)->ino, two);
  tree_.stack();
  ASSERT_TRUE(tree_->unlink(2, first, {}));
  ASSERT_TRUE(tree_->unlink(2, second, {}));
  EXPECT_EQ(tree_.entry(2, second, 1), DirentValue::whiteout());
  const Ino again = make(2, second);
  EXPECT_EQ(tree_.entry(2, second, 1)->ino, again);
  EXPECT_EQ(tree_.find(std::string{"usr/"} + first), 0u);
}

TEST_F(WritableTreeTest, RefusesANameWhoseHashIsUsedUp) {
  const auto [first, second] = test::kTwinNames;
  tree_.put(first, 2, 20, test::make_file("x"), /*rank=*/255);
  EXPECT_EQ(refusal(tree_->make(2, second, new_file(), {})), ENOSPC);
  EXPECT_EQ(refusal(tree_->rename(kRootIno, "empty", 2, second, 0, {})), ENOSPC);
  EXPECT_EQ(tree_.find("empty"), 7u);
}

TEST_F(WritableTreeTest, NeverGivesANumberTwice) {
  EXPECT_EQ(make(2, "a"), test::WrittenTree::kFirstIno);
  EXPECT_EQ(make(2, "b"), test::WrittenTree::kFirstIno + 1);
  const Ino reserved = tree_.layer_record().next_ino;
  EXPECT_GE(reserved, test::WrittenTree::kFirstIno + 4096);
  ASSERT_TRUE(tree_->unlink(2, "b", {}));
  ASSERT_TRUE(tree_->forget(test::WrittenTree::kFirstIno + 1));
  EXPECT_EQ(make(2, "b"), test::WrittenTree::kFirstIno + 2);
  tree_.reopen_database();
  EXPECT_EQ(make(2, "c"), reserved);
  Ino last = reserved;
  for (int i = 0; i < 5000; ++i) {
    const Ino next = make(2, "many");
    EXPECT_EQ(next, last + 1);
    last = next;
    ASSERT_TRUE(tree_->unlink(2, "many", {}));
    ASSERT_TRUE(tree_->forget(next));
    ASSERT_GT(tree_.layer_record().next_ino, next);
  }
  tree_.reopen();
  EXPECT_GT(make(2, "d"), last);
}

TEST_F(WritableTreeTest, SaysWhenNoNumberIsLeft) {
  LayerRecord record = tree_.layer_record();
  record.next_ino = kMaxIno;
  cas::Database::Batch batch;
  put_layer(batch, tree_.layer(), record);
  tree_.write(std::move(batch));
  tree_.reopen();
  EXPECT_EQ(make(2, "last"), kMaxIno);
  EXPECT_EQ(refusal(tree_->make(2, "x", new_file(), {})), ENOSPC);
  tree_.reopen();
  EXPECT_EQ(refusal(tree_->make(2, "x", new_file(), {})), ENOSPC);
}

TEST_F(WritableTreeTest, MakesNothingInALayerThatWasFrozenMeanwhile) {
  LayerRecord record = tree_.layer_record();
  record.state = LayerRecord::State::frozen;
  cas::Database::Batch batch;
  put_layer(batch, tree_.layer(), record);
  tree_.write(std::move(batch));
  EXPECT_EQ(refusal(tree_->make(2, "x", new_file(), {})), EROFS);
}

TEST_F(WritableTreeTest, ChangesOfManyThreadsAreMadeOneAfterTheOther) {
  constexpr int kThreads = 4, kEach = 50;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i) make(2, std::to_string(thread) + "-" + std::to_string(i), new_directory());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(tree_.stat(2).nlink, 3u + kThreads * kEach);
  std::set<Ino> numbers;
  auto listing = tree_->reader().list(2, 0);
  while (const auto entry = listing.next().value()) numbers.insert(entry->ino);
  EXPECT_EQ(numbers.size(), 2u + kThreads * kEach);
}

TEST_F(WritableTreeTest, WritesTheNoteInTheSameBatch) {
  int notes = 0;
  const WritableTree::Note note = [&](cas::Database::Batch& batch, const WritableTree::Entry& entry) {
    ++notes;
    EXPECT_FALSE(batch.empty());
    batch.put(kNameFamily, "note", std::to_string(entry.ino));
  };
  const Ino ino = tree_->make(2, "a", new_file(), note).value().ino;
  EXPECT_EQ(tree_.database().get(kNameFamily, "note")->value(), std::to_string(ino));
  EXPECT_FALSE(tree_->make(2, "a", new_file(), note));
  EXPECT_EQ(notes, 1);
  ASSERT_TRUE(tree_->unlink(2, "a", note));
  EXPECT_EQ(notes, 2);
}

TEST_F(WritableTreeTest, ForgetDropsWhatHasNoLinks) {
  const Ino mine = make(2, "mine");
  ASSERT_TRUE(tree_->set_xattr(mine, "user.a", "1", 0, {}));
  ASSERT_TRUE(tree_->forget(mine));
  EXPECT_TRUE(tree_.has_record(mine)) << "it has a name";
  ASSERT_TRUE(tree_->unlink(2, "mine", {}));
  EXPECT_TRUE(tree_.has_record(mine));
  ASSERT_TRUE(tree_->forget(mine));
  EXPECT_FALSE(tree_.has_record(mine));
  EXPECT_FALSE(tree_.database().get(kXattrFamily, xattr_key(tree_.layer(), mine, "user.a"))->has_value());
  EXPECT_TRUE(tree_->forget(mine));
  EXPECT_TRUE(tree_->forget(5));
  EXPECT_EQ(tree_.find("usr/bin/sh"), 5u);
}

TEST_F(WritableTreeTest, AForgottenInodeOfALowerLayerStaysGone) {
  ASSERT_TRUE(tree_->unlink(3, "dash", {}));
  EXPECT_EQ(tree_->orphans()->size(), 1u);
  ASSERT_TRUE(tree_->forget(4));
  EXPECT_EQ(tree_->orphans()->size(), 0u);
  EXPECT_EQ(tree_.stat(4).nlink, 0u);
  EXPECT_EQ(tree_.xattrs(4).size(), 0u);
  EXPECT_EQ(refusal(tree_->link(4, 3, "dash", {})), ESTALE);
  EXPECT_EQ(refusal(tree_->change(4, [](Inode&) { return Result<void>{}; }, {})), ESTALE);

  ASSERT_TRUE(tree_->unlink(3, "sh", {}));
  ASSERT_TRUE(tree_->rmdir(2, "bin", {}));
  ASSERT_TRUE(tree_->forget(3));
  EXPECT_EQ(tree_.entry(3, "dash"), std::nullopt) << "nobody can see it";
  EXPECT_EQ(refusal(tree_->make(3, "x", new_file(), {})), ESTALE);
  tree_.stack();
  EXPECT_EQ(refusal(tree_->link(4, 2, "dash", {})), ESTALE);
}

TEST_F(WritableTreeTest, FindsOrphansAfterItWasOpenedAnew) {
  const Ino directory = make(2, "d", new_directory());
  const Ino file = make(2, "f", {.mode = S_IFREG | 0600, .staged = 42});
  ASSERT_TRUE(tree_->rmdir(2, "d", {}));
  ASSERT_TRUE(tree_->unlink(2, "f", {}));
  tree_.reopen();
  const auto orphans = tree_->orphans().value();
  ASSERT_EQ(orphans.size(), 2u);
  EXPECT_EQ(orphans[0].ino, directory);
  EXPECT_EQ(orphans[1].ino, file);
  EXPECT_EQ(orphans[1].inode.staged, 42u);
}

}  // namespace
}  // namespace stellarium::fs
