#include "tools/cli/continuation.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <cstdlib>
#include <string>

namespace stellarium::cli {
namespace {

constexpr const char* kVariable = "STELLARIUM_CONTINUES";

/// As a program leaves it: open beyond execve.
int left_open() {
  return ::eventfd(0, 0);
}

TEST(Continuation, WhatWasLeftIsTakenOnce) {
  const int listening = left_open(), kept = left_open();
  ::setenv(kVariable, (std::to_string(listening) + "," + std::to_string(kept)).c_str(), 1);
  const auto taken = take_continuation();
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->listening.get(), listening);
  EXPECT_EQ(taken->kept.get(), kept);
  EXPECT_EQ(::fcntl(listening, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(::fcntl(kept, F_GETFD), FD_CLOEXEC);
  EXPECT_FALSE(take_continuation());
}

TEST(Continuation, ThereMayBeNothingKept) {
  const int listening = left_open();
  ::setenv(kVariable, std::to_string(listening).c_str(), 1);
  const auto taken = take_continuation();
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->listening.get(), listening);
  EXPECT_FALSE(taken->kept);
}

TEST(Continuation, WhatNamesNoDescriptorIsABeginning) {
  ::unsetenv(kVariable);
  EXPECT_FALSE(take_continuation());
  for (const char* wrong : {"", ",", "x", "1", "-1", "3x", "900000", "99999999999999999999"}) {
    ::setenv(kVariable, wrong, 1);
    EXPECT_FALSE(take_continuation()) << wrong;
    EXPECT_EQ(std::getenv(kVariable), nullptr);
  }
}

}  // namespace
}  // namespace stellarium::cli
