#include "fs/fuse/opened_nodes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace stellarium::fs::fuse {
namespace {

TEST(OpenedNodes, EachNodeHasOneFirstOpenHoweverManyThereAre) {
  OpenedNodes opened;
  for (int pass = 0; pass < 2; ++pass) {
    int first = 0;
    for (std::uint64_t number = 1; number <= 100'000; number += 7) opened.note(NodeId{number}, [&] { ++first; });
    EXPECT_EQ(first, pass == 0 ? 14'286 : 0);
  }
}

TEST(OpenedNodes, OthersWaitUntilTheFirstOpenIsDone) {
  constexpr std::uint64_t kNodes = 500;
  OpenedNodes opened;
  std::vector<std::atomic<bool>> done(kNodes);
  std::atomic<int> early = 0;
  const auto open_all = [&] {
    for (std::uint64_t number = 0; number < kNodes; ++number) {
      opened.note(NodeId{number + 1}, [&] {
        std::this_thread::yield();
        done[number] = true;
      });
      if (!done[number]) ++early;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back(open_all);
  }
  EXPECT_EQ(early, 0);
}

}  // namespace
}  // namespace stellarium::fs::fuse
