#include "fs/sync_order.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace stellarium::fs {
namespace {

Result<void> nothing() {
  return {};
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
          return Result<void>{};
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

TEST(SyncOrder, RecordsAreNotSyncedIfAFileCannotBe) {
  SyncOrder order;
  bool records = false;
  const auto synced = order.sync([] { return Result<void>{fail(Errc::io, "a file")}; },
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
        if (!threads.empty()) return Result<void>{};
        for (int i = 0; i < 8; ++i) {
          threads.emplace_back([&] {
            ++waiting;
            EXPECT_TRUE(order.sync(nothing, count));
          });
        }
        while (waiting != 8) std::this_thread::yield();
        return Result<void>{};
      },
      count);
  EXPECT_TRUE(first);
  for (auto& thread : threads) thread.join();
  EXPECT_GE(rounds, 2) << "a round that began before does not cover them";
  EXPECT_LE(rounds, 9);
}

}  // namespace
}  // namespace stellarium::fs
