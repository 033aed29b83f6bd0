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

constexpr std::uint64_t kBlock = kHostBlock;

class HostBlocksTest : public testing::Test {
 protected:
  void put(std::uint64_t block, std::uint64_t count = 1) {
    const std::string bytes(count * kBlock, 'x');
    ASSERT_EQ(::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(block * kBlock)),
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
  EXPECT_EQ(fit(0, 1, kBlock), 1u);
  EXPECT_EQ(fit(0, 3 * kBlock, 2 * kBlock), 2 * kBlock);
  EXPECT_EQ(fit(0, 3 * kBlock, 3 * kBlock - 1), 2 * kBlock);
  EXPECT_EQ(fit(100, 2 * kBlock, 2 * kBlock), 2 * kBlock - 100) << "it reaches into a third block";
  EXPECT_EQ(fit(100, 2 * kBlock, 3 * kBlock), 2 * kBlock);
}

TEST_F(HostBlocksTest, WhatIsThereIsFree) {
  put(1);
  put(3, 2);
  EXPECT_EQ(fit(kBlock, kBlock, 0), kBlock);
  EXPECT_EQ(fit(3 * kBlock + 5, kBlock, 0), kBlock);
  EXPECT_EQ(fit(0, 6 * kBlock, 0), 0u);
  EXPECT_EQ(fit(kBlock, 5 * kBlock, 0), kBlock) << "up to the hole";
  EXPECT_EQ(fit(0, 6 * kBlock, kBlock), 2 * kBlock);
  EXPECT_EQ(fit(0, 6 * kBlock, 2 * kBlock), 5 * kBlock);
  EXPECT_EQ(fit(0, 6 * kBlock, 3 * kBlock), 6 * kBlock);
}

TEST_F(HostBlocksTest, AHalfBlockAtTheEndIsThere) {
  ASSERT_EQ(::pwrite(file_.get(), "x", 1, 0), 1);
  EXPECT_EQ(fit(1, kBlock - 1, 0), kBlock - 1);
  EXPECT_EQ(fit(1, kBlock, 0), kBlock - 1);
}

TEST_F(HostBlocksTest, AllocatedBlocksAreThereBeforeTheyAreWritten) {
  if (::fallocate(file_.get(), 0, 0, 4 * kBlock) != 0) GTEST_SKIP() << "no fallocate here";
  EXPECT_EQ(fit(0, 4 * kBlock, 0), 4 * kBlock);
  ASSERT_EQ(::ftruncate(file_.get(), 100 * kBlock), 0);
  EXPECT_EQ(fit(50 * kBlock, kBlock, 0), 0u) << "a hole";
  EXPECT_EQ(must(host_bytes(file_.get())), 4 * kBlock);
}

}  // namespace
}  // namespace stellarium::fs
