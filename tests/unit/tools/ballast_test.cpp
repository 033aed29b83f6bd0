#include "tools/server/ballast.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "support/fault_io.h"
#include "support/temp_dir.h"

namespace stellarium::server {
namespace {

constexpr std::uint64_t kMiB = 1u << 20, kGiB = 1u << 30;

class BallastTest : public testing::Test {
 protected:
  /// As if the file system had 64 MiB: a ballast of 4 MiB.
  std::unique_ptr<Ballast> open() {
    return Ballast::open(io_, dir_.path(), [this] { return Ballast::Space{64 * kMiB, free_}; });
  }
  std::uint64_t on_disk() const {
    struct stat status {};
    return ::stat((dir_ / "ballast").c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
  }
  test::TempDir dir_;
  test::FaultIo io_;
  std::uint64_t free_ = 60 * kMiB;
};

TEST(BallastSize, IsAHundredthWithinBoundsAndASixteenthOfSmallFileSystems) {
  EXPECT_EQ(Ballast::size_for(20 * kGiB), 20 * kGiB / 100 / 16384 * 16384);
  EXPECT_EQ(Ballast::size_for(4000 * kGiB), kGiB);
  EXPECT_EQ(Ballast::size_for(2 * kGiB), 64 * kMiB);
  EXPECT_EQ(Ballast::size_for(160 * kMiB), 10 * kMiB);
  EXPECT_EQ(Ballast::size_for(0), 0u);
}

TEST_F(BallastTest, TakesRealRoomAndGivesItUpInQuarters) {
  const auto ballast = open();
  EXPECT_EQ(ballast->stats().held, 0u);
  ballast->restore();
  EXPECT_EQ(ballast->stats().held, 4 * kMiB);
  EXPECT_GE(on_disk(), 4 * kMiB);
  for (std::uint64_t left = 4; left > 0; --left) {
    EXPECT_TRUE(ballast->give_up());
    EXPECT_EQ(ballast->stats().held, (left - 1) * kMiB);
    EXPECT_LT(on_disk(), (left - 1) * kMiB + 64 * 1024);
  }
  EXPECT_FALSE(ballast->give_up());
}

TEST_F(BallastTest, TakesBackOnlyWhatLeavesAStepFree) {
  const auto ballast = open();
  free_ = 2 * kMiB - 1;
  ballast->restore();
  EXPECT_EQ(ballast->stats().held, 0u);
  EXPECT_FALSE(ballast->is_short());
  free_ = kMiB - 1;
  EXPECT_TRUE(ballast->is_short());
}

TEST_F(BallastTest, TheNextServerFindsWhatTheLastOneHeld) {
  open()->restore();
  {
    const auto ballast = open();
    EXPECT_EQ(ballast->stats().held, 4 * kMiB);
    ballast->give_up();
  }
  EXPECT_EQ(open()->stats().held, 3 * kMiB);
}

TEST_F(BallastTest, WithoutAllocationAheadNothingIsHeldAndNothingFails) {
  const auto ballast = open();
  io_.fail_at(0, EOPNOTSUPP, /*forever=*/true);
  ballast->restore();
  EXPECT_EQ(ballast->stats().held, 0u);
  EXPECT_FALSE(ballast->give_up());
}

}  // namespace
}  // namespace stellarium::server
