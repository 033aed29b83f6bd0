#pragma once
#include <gtest/gtest.h>

#include <cstdlib>

/// Ends a test for want of something that the machine should have: skipped by hand, failed in CI, where a test that
/// does not run proves nothing (STELLARIUM_REQUIRE_ALL, tools/test --ci).
#define STELLARIUM_CANNOT_RUN(why)                                               \
  do {                                                                           \
    if (std::getenv("STELLARIUM_REQUIRE_ALL") != nullptr) GTEST_FAIL() << (why); \
    GTEST_SKIP() << (why);                                                       \
  } while (false)
