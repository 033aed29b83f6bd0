#include "fs/clone_bodies.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "fs/staged_first.h"
#include "support/fake_tier.h"
#include "support/fault_io.h"
#include "support/image_store.h"
#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

using test::must;

constexpr Ino kHello = 6, kEmpty = 7, kRoot = kRootIno;

class CloneBodiesTest : public testing::Test {
 protected:
  CloneBodiesTest() {
    tier_.add("hello");
    open();
  }
  void open() { bodies_ = std::make_unique<CloneBodies>(*tree_, *staging_, tier_, tree_.database()); }
  /// A snapshot: the writable layer is frozen, and the tree goes on in a new one.
  void freeze() {
    bodies_.reset();
    tree_.stack();
    open();
  }

  Inode inode(Ino ino) const { return *must(tree_->reader().inode(ino)); }
  std::string content(Ino ino) {
    Inode found = inode(ino);
    must(bodies_->refresh(ino, found));
    std::string bytes(static_cast<std::size_t>(found.size), '\0');
    bytes.resize(must(bodies_->read(ino, found, 0, std::as_writable_bytes(std::span{bytes}))));
    return bytes;
  }
  void write(Ino ino, std::string_view bytes, off_t offset) {
    const auto file = must(bodies_->writable(ino));
    ASSERT_EQ(::pwrite(file->fd(), bytes.data(), bytes.size(), offset), static_cast<ssize_t>(bytes.size()));
  }
  std::size_t staged_files() { return must(staging_->list()).size(); }

  test::TempDir dir_;
  test::FakeTier tier_{dir_.path()};
  test::FaultIo io_;
  std::unique_ptr<Staging> staging_ = must(Staging::open(io_, dir_ / "staged"));
  test::WrittenTree tree_;
  StagedFirst staged_first_{tree_.database(), *staging_};
  std::unique_ptr<CloneBodies> bodies_;
};

TEST_F(CloneBodiesTest, AFileThatNobodyWroteCostsNothing) {
  EXPECT_EQ(content(kHello), "hello");
  EXPECT_EQ(staged_files(), 0u);
}

TEST_F(CloneBodiesTest, AFileThatCannotBeSyncedFailsItsOwnSyncsAndOneOfAll) {
  write(kHello, "j", 0);
  write(kEmpty, "x", 0);
  io_.fail_at(0, EIO);
  EXPECT_EQ(bodies_->sync_all().error().sys_errno, EIO);
  EXPECT_TRUE(bodies_->sync_all()) << "it was told";
  EXPECT_TRUE(bodies_->sync());
  const bool hello_failed = !bodies_->sync(kHello), empty_failed = !bodies_->sync(kEmpty);
  EXPECT_NE(hello_failed, empty_failed) << "whichever was synced first";
  write(hello_failed ? kEmpty : kHello, "y", 0);
  EXPECT_TRUE(bodies_->sync(hello_failed ? kEmpty : kHello));
  EXPECT_FALSE(bodies_->sync(hello_failed ? kHello : kEmpty));
}

TEST_F(CloneBodiesTest, TheFirstWriteCopiesAndLaterOnesDoNot) {
  write(kHello, "j", 0);
  EXPECT_EQ(content(kHello), "jello");
  EXPECT_EQ(inode(kHello).body, Body::staged);
  write(kHello, "!", 5);
  EXPECT_EQ(content(kHello), "jello!");
  EXPECT_EQ(staged_files(), 1u);
}

TEST_F(CloneBodiesTest, WhatIsCutOffIsNotCopied) {
  must(bodies_->truncate(kHello, 2));
  EXPECT_EQ(content(kHello), "he");
  must(bodies_->truncate(kHello, 4));
  EXPECT_EQ(content(kHello), (std::string{"he\0\0", 4}));
}

TEST_F(CloneBodiesTest, TheFileKnowsItsSizeBetterThanTheRecord) {
  write(kEmpty, "twelve bytes", 0);
  Inode found = inode(kEmpty);
  must(bodies_->refresh(kHello, found));
  EXPECT_EQ(found.size, 12u);
}

TEST_F(CloneBodiesTest, AFrozenFileIsCopiedNotWritten) {
  write(kHello, "j", 0);
  const StagedId frozen = inode(kHello).staged;
  freeze();
  EXPECT_EQ(content(kHello), "jello");
  write(kHello, "c", 0);
  EXPECT_EQ(content(kHello), "cello");
  EXPECT_NE(inode(kHello).staged, frozen);
  const auto before = must(staging_->find(frozen));
  char first = 0;
  ASSERT_EQ(::pread(before->fd(), &first, 1, 0), 1);
  EXPECT_EQ(first, 'j');
}

TEST_F(CloneBodiesTest, ARecordThatNamesAFrozenFileDoesNotOwnIt) {
  write(kHello, "j", 0);
  const StagedId frozen = inode(kHello).staged;
  freeze();
  must(tree_->change(kHello,
                     [](Inode& record) -> Result<void> {
                       record.mode = S_IFREG | 0600;
                       return {};
                     },
                     {}));
  ASSERT_EQ(inode(kHello).staged, frozen) << "only the record was copied up";
  bodies_->drop(kHello, inode(kHello));
  must(bodies_->sync());
  EXPECT_TRUE(staging_->find(frozen)) << "the snapshot lost its bytes";
  write(kHello, "c", 0);
  EXPECT_NE(inode(kHello).staged, frozen);
}

TEST_F(CloneBodiesTest, AFrozenFileIsCopiedBeforeItsTimesChange) {
  write(kHello, "j", 0);
  const StagedId own = inode(kHello).staged;
  must(bodies_->unshare(kHello));
  EXPECT_EQ(inode(kHello).staged, own) << "it is the clone's already";
  freeze();
  must(bodies_->unshare(kHello));
  EXPECT_NE(inode(kHello).staged, own);
  EXPECT_EQ(content(kHello), "jello");
  must(bodies_->unshare(kEmpty));
  EXPECT_NE(inode(kEmpty).body, Body::staged);
}

TEST_F(CloneBodiesTest, ADroppedFileGoesWithTheNextSync) {
  write(kHello, "j", 0);
  const Inode dropped = inode(kHello);
  bodies_->drop(kHello, dropped);
  must(bodies_->sync());
  EXPECT_EQ(staged_files(), 0u);
}

TEST_F(CloneBodiesTest, OnlyRegularFilesCanBeWritten) {
  EXPECT_EQ(test::refusal(bodies_->writable(kRoot)), EINVAL);
  EXPECT_EQ(test::refusal(bodies_->writable(12'345)), ESTALE);
}

}  // namespace
}  // namespace stellarium::fs
