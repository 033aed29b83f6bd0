#include "fs/shared_loop.h"

#include <gtest/gtest.h>

#include <vector>

namespace stellarium::fs {
namespace {

TEST(SharedLoop, RunsEveryRoundOnce) {
  SharedLoop loop;
  for (std::size_t count = 0; count < 300; ++count) {
    std::vector<std::atomic<int>> runs(count);
    loop.run(count, [&](std::size_t at) { ++runs[at]; });
    for (const auto& run : runs) ASSERT_EQ(run, 1) << count;
  }
}

TEST(SharedLoop, WhatRoundsWroteIsThereWhenItReturns) {
  SharedLoop loop;
  for (int repeat = 0; repeat < 500; ++repeat) {
    std::vector<std::size_t> squares(16);
    loop.run(squares.size(), [&](std::size_t at) { squares[at] = at * at; });
    for (std::size_t at = 0; at < squares.size(); ++at) ASSERT_EQ(squares[at], at * at);
  }
}

}  // namespace
}  // namespace stellarium::fs
