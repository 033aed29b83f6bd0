#include "fs/chores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace stellarium::fs {
namespace {

using namespace std::chrono_literals;

template <typename Condition>
bool comes_true(const Condition& condition) {
  for (const auto until = std::chrono::steady_clock::now() + 20s; !condition();) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

TEST(Chores, WorkIsDoneOnceHoweverOftenItIsAskedFor) {
  Chores chores{20ms};
  std::atomic<int> done = 0, other = 0;
  const auto chore = chores.add([&] { return ++done, false; });
  const auto never_asked = chores.add([&] { return ++other, true; });
  for (int i = 0; i < 100; ++i) chore->ask();
  EXPECT_EQ(done, 0);  // not before the pause is over
  EXPECT_TRUE(comes_true([&] { return done == 1; }));
  std::this_thread::sleep_for(60ms);
  EXPECT_EQ(done, 1);
  chore->ask();
  EXPECT_TRUE(comes_true([&] { return done == 2; }));
  EXPECT_EQ(other, 0);
}

TEST(Chores, WorkThatIsNotFinishedGoesOn) {
  Chores chores{1ms};
  std::atomic<int> done = 0;
  const auto chore = chores.add([&] { return ++done < 5; });
  chore->ask();
  EXPECT_TRUE(comes_true([&] { return done == 5; }));
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(done, 5);
}

TEST(Chores, OneThreadDoesTheWorkOfAll) {
  Chores chores{1ms};
  std::atomic<int> busy = 0, most = 0, done = 0;
  std::vector<std::unique_ptr<Chores::Chore>> owners;
  for (int i = 0; i < 20; ++i) {
    owners.push_back(chores.add([&] {
      most = std::max(most.load(), ++busy);
      std::this_thread::sleep_for(1ms);
      --busy;
      return ++done, false;
    }));
    owners.back()->ask();
  }
  EXPECT_TRUE(comes_true([&] { return done == 20; }));
  EXPECT_EQ(most, 1);
}

TEST(Chores, WhoEndsWaitsForItsWorkAndHasNoneAfterwards) {
  Chores chores{1ms};
  std::atomic<bool> begun = false, ended = false;
  std::atomic<int> done = 0;
  auto chore = chores.add([&] {
    begun = true;
    std::this_thread::sleep_for(50ms);
    ended = true;
    return ++done, true;
  });
  chore->ask();
  ASSERT_TRUE(comes_true([&] { return begun.load(); }));
  chore.reset();
  EXPECT_TRUE(ended);
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(done, 1);
}

}  // namespace
}  // namespace stellarium::fs
