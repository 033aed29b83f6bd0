#include "fs/sync_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

namespace stellarium::fs {
namespace {

Result<std::size_t> nothing() {
  return 0;
}

TEST(SyncOrder, NoChangeIsUnderWayWhileRecordsAreSynced) {
  SyncOrder order;
  std::atomic<bool> ending = false;
  std::atomic<int> changing = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!ending) {
        const SyncOrder::Change change{order};
        ++changing;
        std::this_thread::yield();
        --changing;
      }
    });
  }
  for (int i = 0; i < 200; ++i) {
    int files = 0;
    const auto synced = order.sync(
        [&] {
          if (++files == 2) {
            EXPECT_EQ(changing, 0);
          }
          return Result<std::size_t>{0};
        },
        [&] {
          EXPECT_EQ(changing, 0);
          return Result<void>{};
        });
    EXPECT_TRUE(synced);
    EXPECT_EQ(files, 2);
  }
  ending = true;
  for (auto& thread : threads) thread.join();
}

TEST(SyncOrder, ChangesGoOnUntilFewFilesAreLeft) {
  SyncOrder order;
  std::vector<std::size_t> left{10 * SyncOrder::kFew, 3 * SyncOrder::kFew, SyncOrder::kFew, 1};
  std::size_t step = 0;
  EXPECT_TRUE(order.sync(
      [&]() -> Result<std::size_t> {
        if (step + 1 != left.size()) const SyncOrder::Change change{order};  // would wait for ever in the last step
        return left[step++];
      },
      [] { return Result<void>{}; }));
  EXPECT_EQ(step, left.size());
}

TEST(SyncOrder, ARoundEndsThoughFilesAreMadeFasterThanTheyAreSynced) {
  SyncOrder order;
  std::atomic<bool> ending = false;
  std::atomic<std::size_t> made = 0;
  std::chrono::nanoseconds longest{0};
  std::thread maker{[&] {
    while (!ending) {
      const auto began = std::chrono::steady_clock::now();
      {
        const SyncOrder::Change change{order};
        ++made;
      }
      longest = std::max<std::chrono::nanoseconds>(longest, std::chrono::steady_clock::now() - began);
      std::this_thread::sleep_for(std::chrono::microseconds{10});
    }
  }};
  constexpr std::chrono::microseconds kEach{500};
  std::size_t last = 0;
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(order.sync(
        [&]() -> Result<std::size_t> {
          last = made.exchange(0);
          std::this_thread::sleep_for(last * kEach);
          return last;
        },
        [] { return Result<void>{}; }));
    EXPECT_LE(last, 2 * SyncOrder::kFew) << "for which changes waited";
  }
  ending = true;
  maker.join();
  const SyncOrder::Change change{order};
  EXPECT_LT(longest, std::chrono::seconds{1});
}

TEST(SyncOrder, RecordsAreNotSyncedIfAFileCannotBe) {
  SyncOrder order;
  bool records = false;
  const auto synced = order.sync([] { return Result<std::size_t>{fail(Errc::io, "a file")}; },
                                 [&] {
                                   records = true;
                                   return Result<void>{};
                                 });
  EXPECT_FALSE(synced);
  EXPECT_FALSE(records);
  const SyncOrder::Change change{order};  // open again
}

TEST(SyncOrder, CallersThatComeDuringARoundShareTheNextOne) {
  SyncOrder order;
  std::atomic<int> rounds = 0, waiting = 0;
  const auto count = [&] {
    ++rounds;
    return Result<void>{};
  };
  std::vector<std::thread> threads;
  const auto first = order.sync(
      [&] {
        if (!threads.empty()) return Result<std::size_t>{0};
        for (int i = 0; i < 8; ++i) {
          threads.emplace_back([&] {
            ++waiting;
            EXPECT_TRUE(order.sync(nothing, count));
          });
        }
        while (waiting != 8) std::this_thread::yield();
        return Result<std::size_t>{0};
      },
      count);
  EXPECT_TRUE(first);
  for (auto& thread : threads) thread.join();
  EXPECT_GE(rounds, 2) << "a round that began before does not cover them";
  EXPECT_LE(rounds, 9);
}

}  // namespace
}  // namespace stellarium::fs
