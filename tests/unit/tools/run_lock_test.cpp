#include "tools/protocol/run_lock.h"

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace stellarium::protocol {
namespace {

TEST(RunLock, IsHeldByOneAtATime) {
  const test::TempDir temp;
  const auto first = take_lock(temp / "lock");
  ASSERT_TRUE(first) << to_string(first.error());
  EXPECT_EQ(take_lock(temp / "lock").error().code, Errc::busy);
}

TEST(RunLock, CanBeAskedAboutWithoutBeingTaken) {
  const test::TempDir temp;
  EXPECT_FALSE(is_locked(temp / "lock"));
  {
    const auto held = take_lock(temp / "lock");
    EXPECT_TRUE(is_locked(temp / "lock"));
    EXPECT_TRUE(is_locked(temp / "lock"));
  }
  EXPECT_FALSE(is_locked(temp / "lock"));
  EXPECT_TRUE(take_lock(temp / "lock"));
}

}  // namespace
}  // namespace stellarium::protocol
