#include "fs/shared_loop.h"

#include <gtest/gtest.h>

#include <vector>

namespace stellarium::fs {
namespace {

TEST(SharedLoop, RunsEveryRoundOnce) {
  SharedLoop loop;
  for (std::size_t count = 0; count < 300; ++count) {
    std::vector<std::atomic<int>> runs(count);
    loop.start(count, [&](std::size_t at) { ++runs[at]; });
    loop.finish();
    for (const auto& run : runs) ASSERT_EQ(run, 1) << count;
  }
}

TEST(SharedLoop, WhatRoundsWroteIsThereWhenItIsFinished) {
  SharedLoop loop;
  for (int repeat = 0; repeat < 500; ++repeat) {
    std::vector<std::size_t> squares(16);
    loop.start(squares.size(), [&](std::size_t at) { squares[at] = at * at; });
    loop.finish();
    for (std::size_t at = 0; at < squares.size(); ++at) ASSERT_EQ(squares[at], at * at);
  }
}

TEST(SharedLoop, RunsWhileItsCallerDoesSomethingElse) {
  SharedLoop loop;
  std::atomic<int> runs = 0;
  loop.start(3, [&](std::size_t) { ++runs; });
  while (runs < 3) std::this_thread::yield();
  loop.finish();
  EXPECT_EQ(runs, 3);
}

TEST(SharedLoop, FinishingWithoutALoopReturns) {
  SharedLoop loop;
  loop.finish();
  loop.start(1, [](std::size_t) {});
  loop.finish();
  loop.finish();
}

TEST(SharedLoop, MayEndInTheMiddle) {
  for (int repeat = 0; repeat < 200; ++repeat) {
    std::atomic<int> running = 0;
    {
      SharedLoop loop;
      loop.start(1000, [&](std::size_t) {
        ++running;
        --running;
      });
    }
    ASSERT_EQ(running, 0);
  }
}

}  // namespace
}  // namespace stellarium::fs
