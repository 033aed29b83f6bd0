#include "fs/sparse_bodies.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>

#include "fs/body_reading.h"
#include "fs/clone_bodies.h"
#include "fs/places.h"
#include "fs/staged_first.h"
#include "support/fake_tier.h"
#include "support/image_store.h"
#include "support/random_bytes.h"
#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

using test::must;

constexpr Ino kLargeFile = 6;
constexpr std::uint64_t kLargeSize = CloneBodies::kWholeCopy + 10'000;  // ends inside a place

/// A clone of an image with one large file.
class SparseBodiesTest : public testing::Test {
 protected:
  SparseBodiesTest() {
    content_ = std::string{as_text(test::random_bytes(1, kLargeSize))};
    const auto ref = tier_.add(content_);
    Inode large = *must(tree_->reader().inode(kLargeFile));
    large.body = Body::content;
    large.inline_bytes.clear();
    large.content = ref.id;
    large.size = large.allocated = kLargeSize;
    large.mtime = {1'000'000'000, 5};
    cas::Database::Batch batch;
    batch.put(kInodeFamily, inode_key(1, kLargeFile), encode_inode(large));
    must(tree_.database().write(std::move(batch), cas::Database::Sync::no));
    tree_.reopen();
    open();
  }
  void open() { bodies_ = std::make_unique<CloneBodies>(*tree_, *staging_, tier_, tree_.database()); }
  void freeze() {
    bodies_.reset();
    tree_.stack();
    open();
  }
  /// As a server that takes over has it: nothing is open, nothing is known.
  void take_over() {
    bodies_.reset();
    tree_.reopen();
    staged_first_.reset();
    staging_ = must(Staging::open(system_io(), dir_ / "staged"));
    staged_first_.emplace(tree_.database(), *staging_);
    open();
  }

  Inode inode() const {
    Inode found = *must(tree_->reader().inode(kLargeFile));
    must(bodies_->refresh(kLargeFile, found));
    return found;
  }
  std::string read(std::uint64_t offset, std::uint64_t size) {
    Inode found = inode();
    std::string bytes(size, '?');
    bytes.resize(must(bodies_->read(kLargeFile, found, offset, std::as_writable_bytes(std::span{bytes}))));
    return bytes;
  }
  std::string all() { return read(0, inode().size); }
  void write(std::string_view bytes, std::uint64_t offset) {
    ASSERT_EQ(must(bodies_->write(kLargeFile, as_bytes(bytes), offset)), bytes.size());
  }
  std::uint64_t host_bytes() const {
    return static_cast<std::uint64_t>(must(staging_->status(inode().staged)).st_blocks) * 512;
  }
  std::uint64_t seek(std::uint64_t offset, bool data) {
    Inode found = inode();
    return must(bodies_->seek(
        kLargeFile, found, offset, data,
        [data](const StagedBase& base, std::uint64_t at) -> Result<std::uint64_t> { return data ? at : base.size; }));
  }

  std::string content_;
  test::TempDir dir_;
  test::FakeTier tier_{dir_.path()};
  std::unique_ptr<Staging> staging_ = must(Staging::open(system_io(), dir_ / "staged"));
  test::WrittenTree tree_;
  std::optional<StagedFirst> staged_first_{std::in_place, tree_.database(), *staging_};
  std::unique_ptr<CloneBodies> bodies_;
};

TEST_F(SparseBodiesTest, TheFirstWriteOfALargeFileCopiesOnlyItsPlaces) {
  write("here", kLargeSize / 2);
  content_.replace(kLargeSize / 2, 4, "here");
  EXPECT_EQ(inode().size, kLargeSize);
  EXPECT_LE(host_bytes(), 2 * kPlace);
  EXPECT_TRUE(all() == content_);
  EXPECT_FALSE(must(bodies_->own(kLargeFile))) << "programs must not see the holes";
}

TEST_F(SparseBodiesTest, WhatIsWrittenBehindTheEndFollowsTheContentAndZeros) {
  write("tail", kLargeSize + 3 * kPlace);
  content_ += std::string(3 * kPlace, '\0') + "tail";
  EXPECT_TRUE(all() == content_);
}

TEST_F(SparseBodiesTest, WhatWasCutOffNeverComesBack) {
  constexpr std::uint64_t kCut = CloneBodies::kWholeCopy + 5'001;
  must(bodies_->truncate(kLargeFile, kCut));
  must(bodies_->truncate(kLargeFile, kLargeSize));
  content_.resize(kCut);
  content_.resize(kLargeSize);
  EXPECT_TRUE(all() == content_);
  write("x", kLargeSize + 1);
  content_ += std::string(1, '\0') + "x";
  EXPECT_TRUE(all() == content_);
}

TEST_F(SparseBodiesTest, ATruncationThatACrashBrokeOffHidesTheRestForGood) {
  write("x", 0);
  constexpr std::uint64_t kCut = CloneBodies::kWholeCopy + 100;
  // The file was cut, and the record does not know.
  ASSERT_EQ(::ftruncate(must(staging_->find(inode().staged))->fd(), kCut), 0);
  take_over();
  content_[0] = 'x';
  content_.resize(kCut);
  EXPECT_TRUE(all() == content_);
  write("y", kLargeSize);
  content_.resize(kLargeSize);
  content_ += 'y';
  EXPECT_TRUE(all() == content_);
}

TEST_F(SparseBodiesTest, HowMuchShowsIsOnTheDiskBeforeTheFileGrowsAgain) {
  constexpr std::uint64_t kCut = CloneBodies::kWholeCopy + 100;
  must(bodies_->truncate(kLargeFile, kCut));
  write("x", 0);
  must(bodies_->truncate(kLargeFile, kCut - 1));
  EXPECT_TRUE(tree_->is_unsynced(kLargeFile));
  write("y", kCut + 5);
  EXPECT_FALSE(tree_->is_unsynced(kLargeFile));
}

TEST_F(SparseBodiesTest, WhatIsLeftOfACutFileIsAWholeOneAgain) {
  write("x", 10);
  const StagedId sparse = inode().staged;
  must(bodies_->truncate(kLargeFile, 100));
  content_[10] = 'x';
  content_.resize(100);
  EXPECT_TRUE(all() == content_);
  EXPECT_TRUE(must(bodies_->own(kLargeFile)));
  must(bodies_->sync());
  EXPECT_FALSE(staging_->find(sparse));
}

TEST_F(SparseBodiesTest, ZerosHideTheContentAndBehindItTakeNoRoom) {
  constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  must(bodies_->allocate(kLargeFile, kPunch, 5'000, 9'000));
  must(bodies_->allocate(kLargeFile, kPunch, kLargeSize - 5'000, 1u << 20));
  content_.replace(5'000, 9'000, 9'000, '\0');
  content_.replace(kLargeSize - 5'000, 5'000, 5'000, '\0');
  EXPECT_TRUE(all() == content_);
  write("far", 2 * kLargeSize);
  const std::uint64_t before = host_bytes();
  must(bodies_->allocate(kLargeFile, kPunch, kLargeSize, kLargeSize));
  EXPECT_LE(host_bytes(), before);
  content_.resize(2 * kLargeSize);
  content_ += "far";
  EXPECT_TRUE(all() == content_);
}

TEST_F(SparseBodiesTest, WhatIsAllocatedIsThereWithItsBytes) {
  must(bodies_->allocate(kLargeFile, 0, kLargeSize - 20'000, 40'000));
  content_.resize(kLargeSize + 20'000);
  EXPECT_TRUE(all() == content_);
  EXPECT_GE(host_bytes(), 40'000u);
  EXPECT_EQ(inode().size, kLargeSize + 20'000);
  take_over();
  EXPECT_TRUE(all() == content_);
}

TEST_F(SparseBodiesTest, DataIsWhereTheContentShowsAndWhereItWasWritten) {
  write("far", 2 * kLargeSize);
  EXPECT_EQ(seek(0, true), 0u);
  EXPECT_EQ(seek(0, false), kLargeSize);
  EXPECT_EQ(seek(kLargeSize, true), place_begin(2 * kLargeSize));
  EXPECT_EQ(seek(place_begin(2 * kLargeSize), false), 2 * kLargeSize + 3);
}

TEST_F(SparseBodiesTest, AFrozenFileIsCopiedWithWhatItLiesOver) {
  write("old", 0);
  const StagedId frozen = inode().staged;
  freeze();
  write("new", 1 << 20);
  EXPECT_NE(inode().staged, frozen);
  EXPECT_LE(host_bytes(), 3 * kPlace);
  content_.replace(0, 3, "old");
  const Inode below =
      *must(LayerReader{tree_.database(), {tree_->reader().layers().begin() + 1, tree_->reader().layers().end()}}.inode(
          kLargeFile));
  std::string before(kLargeSize, '?');
  EXPECT_EQ(must(read_body({tier_, staging_.get()}, below, 0, std::as_writable_bytes(std::span{before}))), kLargeSize);
  EXPECT_TRUE(before == content_);
  content_.replace(1 << 20, 3, "new");
  EXPECT_TRUE(all() == content_);
}

TEST_F(SparseBodiesTest, ACompletedFileHasAllOfItsBytesAndItsTime) {
  write("here", 2 << 20);
  write("tail", kLargeSize + 10);
  content_.replace(2 << 20, 4, "here");
  content_ += std::string(10, '\0') + "tail";
  const Timespec written = inode().mtime;
  const auto file = must(bodies_->writable(kLargeFile));
  SparseBodies sparse{{*tree_, *staging_, tier_, tree_.database(), bodies_->quota()}};
  std::uint64_t from = 0;
  while (const auto next = must(sparse.complete(kLargeFile, *file, from))) {
    EXPECT_GT(*next, from);
    EXPECT_TRUE(all() == content_) << "at every moment";
    from = *next;
  }
  EXPECT_FALSE(inode().base);
  EXPECT_EQ(inode().mtime, written);
  EXPECT_TRUE(must(bodies_->own(kLargeFile))) << "it can be passed through";
  EXPECT_TRUE(all() == content_);
  take_over();
  EXPECT_TRUE(all() == content_);
  write("on", 5);
  content_.replace(5, 2, "on");
  EXPECT_TRUE(all() == content_);
}

TEST_F(SparseBodiesTest, ReadsOfWhatNobodyWroteCanBeAnsweredFromTheContent) {
  write("here", 1 << 20);
  const Inode now = inode();
  EXPECT_TRUE(must(bodies_->content_at(now, 0, 1 << 20)));
  EXPECT_FALSE(must(bodies_->content_at(now, 0, (1 << 20) + 1)));
  EXPECT_FALSE(must(bodies_->content_at(now, kLargeSize - 10, 20)));
}

TEST_F(SparseBodiesTest, RandomOperationsGiveWhatAStringWouldHave) {
  std::mt19937_64 random{7};
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  const auto noise = test::random_bytes(9, 70'000);
  for (int step = 0; step < 600; ++step) {
    const std::uint64_t size = content_.size(), offset = below(size + 50'000);
    const std::uint64_t length = 1 + below(step % 3 == 0 ? 70'000 : 6'000);
    switch (below(12)) {
      case 0: {
        const std::uint64_t to = CloneBodies::kWholeCopy + below(2 * (kLargeSize - CloneBodies::kWholeCopy));
        must(bodies_->truncate(kLargeFile, to));
        content_.resize(to);
        break;
      }
      case 1:
      case 2: {
        const int mode = below(2) == 0 ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_ZERO_RANGE;
        must(bodies_->allocate(kLargeFile, mode, offset, length));
        if ((mode & FALLOC_FL_KEEP_SIZE) == 0) content_.resize(std::max(size, offset + length));
        if (offset < content_.size()) {
          const auto part = std::min(length, content_.size() - offset);
          content_.replace(offset, part, part, '\0');
        }
        break;
      }
      case 3:
        must(bodies_->allocate(kLargeFile, 0, offset, length));
        content_.resize(std::max(size, offset + length));
        break;
      case 4:
        if (below(4) == 0) take_over();
        break;
      case 5:
        if (below(8) == 0) freeze();
        break;
      case 6:
      case 7: {
        const auto wanted = offset < size ? content_.substr(offset, length) : std::string{};
        ASSERT_EQ(read(offset, length), wanted) << "step " << step;
        break;
      }
      default: {
        const std::string_view bytes = as_text(ByteSpan{noise}.first(length));
        write(bytes, offset);
        content_.resize(std::max(size, offset + length));
        content_.replace(offset, length, bytes);
      }
    }
    ASSERT_EQ(inode().size, content_.size()) << "step " << step;
  }
  EXPECT_TRUE(all() == content_);
  EXPECT_EQ(inode().body, Body::staged);
}

}  // namespace
}  // namespace stellarium::fs
