// Staging::copy_into: the bytes arrive, and what is zero takes no room.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "fs/staging.h"
#include "support/fault_io.h"
#include "support/random_bytes.h"
#include "support/temp_dir.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kKiB = 1024;

class StagingCopyTest : public ::testing::Test {
 protected:
  /// Copies `bytes`, at most `step` a call.
  Result<void> copy(const std::vector<std::byte>& bytes, std::size_t step = ~std::size_t{0}) {
    return staging_->copy_into(
        *file_, bytes.size(), [&](std::uint64_t offset, MutableByteSpan out) -> Result<std::size_t> {
          const std::size_t size = std::min({out.size(), step, bytes.size() - static_cast<std::size_t>(offset)});
          std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), size, out.begin());
          return size;
        });
  }
  std::vector<std::byte> copied() {
    std::vector<std::byte> bytes(static_cast<std::size_t>(io_.status(file_->fd())->st_size));
    EXPECT_EQ(io_.read_at(file_->fd(), bytes, 0).value(), bytes.size());
    return bytes;
  }
  std::uint64_t allocated() { return static_cast<std::uint64_t>(io_.status(file_->fd())->st_blocks) * 512; }

  const test::TempDir folder_;
  test::FaultIo io_;
  const std::unique_ptr<Staging> staging_ = std::move(Staging::open(io_, folder_ / "staged")).value();
  const std::shared_ptr<Staging::File> file_ = staging_->create().value();
};

TEST_F(StagingCopyTest, BytesOfAnySizeArrive) {
  for (const std::size_t size : {0ul, 1ul, 4096ul, 4097ul, 1024 * kKiB, 1024 * kKiB + 1, 2500 * kKiB}) {
    const auto bytes = test::random_bytes(/*seed=*/size, size);
    ASSERT_TRUE(copy(bytes));
    EXPECT_EQ(copied(), bytes) << size;
  }
}

TEST_F(StagingCopyTest, AReaderMayReturnLessThanItWasAskedFor) {
  const auto bytes = test::random_bytes(/*seed=*/1, 1100 * kKiB);
  ASSERT_TRUE(copy(bytes, 70'001));
  EXPECT_EQ(copied(), bytes);
}

TEST_F(StagingCopyTest, BlocksOfZerosBecomeHoles) {
  std::vector<std::byte> bytes(3000 * kKiB + 5);
  const auto some = test::random_bytes(/*seed=*/1, 8 * kKiB);
  for (const std::size_t at : {40 * kKiB, 1020 * kKiB, 2000 * kKiB}) {  // the second goes over a piece's end
    std::copy(some.begin(), some.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
  const std::size_t begin = io_.calls().size();
  ASSERT_TRUE(copy(bytes));
  EXPECT_EQ(copied(), bytes);
  EXPECT_EQ(io_.calls().size(), begin + 4 + 1);
  EXPECT_LE(allocated(), 3 * 8 * kKiB + 4 * kKiB);
}

TEST_F(StagingCopyTest, AFileOfZerosIsOneHole) {
  const std::vector<std::byte> bytes(2000 * kKiB);
  ASSERT_TRUE(copy(bytes));
  EXPECT_EQ(copied(), bytes);
  EXPECT_LE(allocated(), 4 * kKiB);
}

TEST_F(StagingCopyTest, AContentThatEndsEarlyIsAnError) {
  const auto failed = staging_->copy_into(
      *file_, 100, [](std::uint64_t offset, MutableByteSpan) { return Result<std::size_t>{offset < 60 ? 60u : 0u}; });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::io);
  EXPECT_NE(failed.error().context.find("ends at 60"), std::string::npos) << failed.error().context;
}

TEST_F(StagingCopyTest, ErrorsOfReaderAndDiskArePassedOn) {
  const auto failed = staging_->copy_into(
      *file_, 100, [](std::uint64_t, MutableByteSpan) -> Result<std::size_t> { return fail(Errc::corrupt, "chunk"); });
  EXPECT_EQ(failed.error().code, Errc::corrupt);
  for (const std::uint64_t call : {0u, 1u, 2u}) {  // two writes, the size
    io_.fail_at(call, ENOSPC);
    EXPECT_EQ(copy(test::random_bytes(/*seed=*/1, 1500 * kKiB)).error().code, Errc::out_of_space);
  }
}

TEST_F(StagingCopyTest, ASizeThatNoFileCanHaveIsRefused) {
  const auto failed = staging_->copy_into(
      *file_, ~std::uint64_t{0}, [](std::uint64_t, MutableByteSpan out) { return Result<std::size_t>{out.size()}; });
  EXPECT_EQ(failed.error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace stellarium::fs
