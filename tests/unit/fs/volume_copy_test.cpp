#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "fs/volumes.h"
#include "support/volume_fixture.h"

namespace stellarium::fs {
namespace {

using test::content;
using test::must;
using test::random_text;
using test::write;

constexpr std::uint64_t kCopied = 12 * kVolumeBlock + 5000;

class VolumeCopyTest : public test::VolumeFixture {
 protected:
  VolumeCopyTest() {
    write(*from_, 0, random_text(random_, 5 * kVolumeBlock));
    write(*from_, 11 * kVolumeBlock, random_text(random_, kVolumeBlock + 5000));
    write(*to_, 3 * kVolumeBlock, random_text(random_, 6 * kVolumeBlock));
    must(to_->settle({}));
    write(*to_, 100, random_text(random_, 9 * kVolumeBlock));  // over it, and staged
  }
  void expect(const std::string& from, const std::string& to) {
    EXPECT_TRUE(content(*from_) == from);
    EXPECT_TRUE(content(*to_) == to);
    from_.reset();
    to_.reset();
    collect();
    reopen();
    EXPECT_TRUE(content(*must(volumes_->open("from"))) == from) << "after a restart";
    EXPECT_TRUE(content(*must(volumes_->open("to"))) == to) << "after a restart";
  }

  std::mt19937_64 random_{5};
  std::shared_ptr<Volume> from_ = make("from", kCopied), to_ = make("to", kCopied);
};

TEST_F(VolumeCopyTest, OfAWholeVolumeSharesItsMap) {
  const std::string bytes = content(*from_);
  EXPECT_EQ(must(volumes_->copy(*from_, 0, *to_, 0, ~std::uint64_t{0})), kCopied);
  EXPECT_EQ(to_->record().staged, 0u);
  EXPECT_EQ(to_->record().mapped, from_->record().mapped);
  EXPECT_EQ(must(staging_->usage()).files, 1u) << "what was staged in the other one is gone";
  expect(bytes, bytes);
}

TEST_F(VolumeCopyTest, OfAWholeVolumeLeavesBothIndependent) {
  std::string from = content(*from_), to = from;
  must(volumes_->copy(*from_, 0, *to_, 0, kCopied));
  for (int i = 0; i < 10; ++i) {  // chains grow and are merged
    write(*from_, 70'000, "from" + std::to_string(i));
    write(*to_, 500'000, "to" + std::to_string(i));
    from.replace(70'000, 5, "from" + std::to_string(i));
    to.replace(500'000, 3, "to" + std::to_string(i));
    ASSERT_TRUE(content(*from_) == from && content(*to_) == to) << i;
    must(volumes_->copy(*from_, 0, *to_, 0, kCopied));
    to = from;
  }
  must(to_->sync());
  expect(from, to);
}

TEST_F(VolumeCopyTest, OfBlocksTakesWhatIsThereAndZerosToo) {
  const std::string from = content(*from_);
  std::string to = content(*to_);
  // Three blocks with bytes, three of zeros; what is half a block is not taken.
  const std::uint64_t copied =
      must(volumes_->copy(*from_, 2 * kVolumeBlock, *to_, 4 * kVolumeBlock, 6 * kVolumeBlock + 9));
  EXPECT_EQ(copied, 6 * kVolumeBlock);
  to.replace(4 * kVolumeBlock, copied, from, 2 * kVolumeBlock, copied);
  write(*to_, 5 * kVolumeBlock + 3, "over it");
  to.replace(5 * kVolumeBlock + 3, 7, "over it");
  expect(from, to);
}

TEST_F(VolumeCopyTest, OfWhatCannotBeSharedCopiesNothing) {
  const std::string from = content(*from_), to = content(*to_);
  EXPECT_EQ(must(volumes_->copy(*from_, 1, *to_, 1, kVolumeBlock)), 0u);
  EXPECT_EQ(must(volumes_->copy(*from_, 0, *to_, 4096, 4 * kVolumeBlock)), 0u);
  EXPECT_EQ(must(volumes_->copy(*from_, 0, *to_, 0, kVolumeBlock - 1)), 0u);
  EXPECT_EQ(must(volumes_->copy(*from_, 12 * kVolumeBlock, *to_, 12 * kVolumeBlock, kVolumeBlock)), 0u)
      << "a short block";
  EXPECT_EQ(must(volumes_->copy(*from_, 13 * kVolumeBlock, *to_, 0, kVolumeBlock)), 0u);
  EXPECT_EQ(must(volumes_->copy(*from_, 0, *from_, 4 * kVolumeBlock, kVolumeBlock)), 0u);
  expect(from, to);
}

TEST_F(VolumeCopyTest, BothWaysAtOnceWhileBothAreWrittenAndSyncedEndsAndIsOneOfTheTwo) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    Volume &one = i == 0 ? *from_ : *to_, &other = i == 0 ? *to_ : *from_;
    threads.emplace_back([&, this] {
      for (int round = 0; round < 20; ++round) must(volumes_->copy(one, 0, other, 0, kCopied));
    });
    threads.emplace_back([&one] {
      for (int round = 0; round < 200; ++round) {
        must(one.write(0, as_bytes("x")));
        must(one.sync());
        if (round % 50 == 49) must(one.settle({}));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  must(volumes_->copy(*from_, 0, *to_, 0, kCopied));
  const std::string bytes = content(*from_);
  expect(bytes, bytes);
}

}  // namespace
}  // namespace stellarium::fs
