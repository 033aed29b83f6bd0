#include "tools/server/background_settling.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace stellarium::server {
namespace {

using namespace std::chrono_literals;

TEST(BackgroundSettling, WaitsForThirtySecondsUnlessToldOtherwise) {
  ::unsetenv("STELLARIUM_SETTLE_AFTER");
  EXPECT_EQ(BackgroundSettling::quiet_from_environment(), 30s);
  ::setenv("STELLARIUM_SETTLE_AFTER", "2", 1);
  EXPECT_EQ(BackgroundSettling::quiet_from_environment(), 2s);
  ::setenv("STELLARIUM_SETTLE_AFTER", "never", 1);
  EXPECT_EQ(BackgroundSettling::quiet_from_environment(), std::nullopt);
  ::setenv("STELLARIUM_SETTLE_AFTER", "2 minutes", 1);
  EXPECT_EQ(BackgroundSettling::quiet_from_environment(), 30s);
  ::unsetenv("STELLARIUM_SETTLE_AFTER");
}

TEST(BackgroundSettling, SpaceIsShortWhenLittleIsFreeOrMuchIsStaged) {
  constexpr std::uint64_t kGiB = 1u << 30;
  EXPECT_FALSE(BackgroundSettling::is_space_short(100 * kGiB, 50 * kGiB, 10 * kGiB));
  EXPECT_TRUE(BackgroundSettling::is_space_short(100 * kGiB, 50 * kGiB, 20 * kGiB));
  EXPECT_TRUE(BackgroundSettling::is_space_short(100 * kGiB, 4 * kGiB, 0));
}

}  // namespace
}  // namespace stellarium::server
