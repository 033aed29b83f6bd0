#include "fs/host_blocks.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "support/image_store.h"
#include "support/temp_dir.h"

namespace stellarium::fs {
namespace {

using test::must;

class HostBlocksTest : public testing::Test {
 protected:
  void put(std::uint64_t block, std::uint64_t count = 1) {
    const std::string bytes(count * kHostBlock, 'x');
    ASSERT_EQ(::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(block * kHostBlock)),
              static_cast<ssize_t>(bytes.size()));
  }
  std::uint64_t fit(std::uint64_t offset, std::uint64_t size, std::uint64_t room) {
    return must(fitting(file_.get(), offset, size, room));
  }
  test::TempDir dir_;
  UniqueFd file_{::open((dir_ / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
};

TEST_F(HostBlocksTest, AnEmptyFileTakesABlockForEachBeginning) {
  EXPECT_EQ(fit(0, 1, 0), 0u);
  EXPECT_EQ(fit(0, 1, kHostBlock), 1u);
  EXPECT_EQ(fit(0, 3 * kHostBlock, 2 * kHostBlock), 2 * kHostBlock);
  EXPECT_EQ(fit(0, 3 * kHostBlock, 3 * kHostBlock - 1), 2 * kHostBlock);
  EXPECT_EQ(fit(100, 2 * kHostBlock, 2 * kHostBlock), 2 * kHostBlock - 100) << "it reaches into a third block";
  EXPECT_EQ(fit(100, 2 * kHostBlock, 3 * kHostBlock), 2 * kHostBlock);
}

TEST_F(HostBlocksTest, WhatIsThereIsFree) {
  put(1);
  put(3, 2);
  EXPECT_EQ(fit(kHostBlock, kHostBlock, 0), kHostBlock);
  EXPECT_EQ(fit(3 * kHostBlock + 5, kHostBlock, 0), kHostBlock);
  EXPECT_EQ(fit(0, 6 * kHostBlock, 0), 0u);
  EXPECT_EQ(fit(kHostBlock, 5 * kHostBlock, 0), kHostBlock) << "up to the hole";
  EXPECT_EQ(fit(0, 6 * kHostBlock, kHostBlock), 2 * kHostBlock);
  EXPECT_EQ(fit(0, 6 * kHostBlock, 2 * kHostBlock), 5 * kHostBlock);
  EXPECT_EQ(fit(0, 6 * kHostBlock, 3 * kHostBlock), 6 * kHostBlock);
}

TEST_F(HostBlocksTest, AHalfBlockAtTheEndIsThere) {
  ASSERT_EQ(::pwrite(file_.get(), "x", 1, 0), 1);
  EXPECT_EQ(fit(1, kHostBlock - 1, 0), kHostBlock - 1);
  EXPECT_EQ(fit(1, kHostBlock, 0), kHostBlock - 1);
}

TEST_F(HostBlocksTest, WhatWasNeverWrittenBecomesHoles) {
  constexpr std::uint64_t kRuns = 600;  // more than are asked for at once
  ASSERT_EQ(::fallocate(file_.get(), 0, 0, 2 * kRuns * kHostBlock), 0);
  for (std::uint64_t run = 0; run < kRuns; ++run) put(2 * run);
  ASSERT_EQ(::fdatasync(file_.get()), 0);
  must(punch_unwritten(file_.get()));
  for (std::uint64_t run = 0; run < kRuns; ++run) {
    EXPECT_EQ(fit(2 * run * kHostBlock, kHostBlock, 0), kHostBlock);
    EXPECT_EQ(fit((2 * run + 1) * kHostBlock, kHostBlock, 0), 0u);
  }
}

TEST_F(HostBlocksTest, AllocatedBlocksAreThereBeforeTheyAreWritten) {
  ASSERT_EQ(::fallocate(file_.get(), 0, 0, 4 * kHostBlock), 0);
  EXPECT_EQ(fit(0, 4 * kHostBlock, 0), 4 * kHostBlock);
  ASSERT_EQ(::ftruncate(file_.get(), 100 * kHostBlock), 0);
  EXPECT_EQ(fit(50 * kHostBlock, kHostBlock, 0), 0u) << "a hole";
  EXPECT_EQ(must(host_bytes(file_.get())), 4 * kHostBlock);
}

}  // namespace
}  // namespace stellarium::fs
