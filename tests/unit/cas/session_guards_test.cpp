#include "cas/session_guards.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "cas/live_set.h"

namespace stellarium::cas {
namespace {

Hash id(int n) {
  return hash_of(as_bytes(std::to_string(n)));
}

TEST(IdFilter, NeverForgets) {
  IdFilter filter;
  for (int n = 0; n < 50'000; ++n) filter.add(id(n));
  for (int n = 0; n < 50'000; ++n) ASSERT_TRUE(filter.may_contain(id(n)));
}

TEST(IdFilter, KnowsFewStrangers) {
  IdFilter filter;
  EXPECT_FALSE(filter.may_contain(id(0)));
  for (int n = 0; n < 50'000; ++n) filter.add(id(n));
  int strangers = 0;
  for (int n = 50'000; n < 60'000; ++n) strangers += filter.may_contain(id(n)) ? 1 : 0;
  EXPECT_LT(strangers, 200);
}

TEST(LiveSet, ContainsExactlyWhatWasAdded) {
  LiveSet set;
  for (int n = 0; n < 1000; ++n) set.add(id(n % 500));
  set.seal();
  EXPECT_EQ(set.size(), 500u);
  for (int n = 0; n < 1000; ++n) EXPECT_EQ(set.contains(id(n)), n < 500);
}

class SessionGuardsTest : public ::testing::Test {
 protected:
  /// How many of the ids 0 … 9 gc may forget.
  std::size_t forgettable(SessionGuards::Collection& collection) {
    std::vector<Hash> ids;
    for (int n = 0; n < 10; ++n) ids.push_back(id(n));
    return collection.unless_touched(ids, [](const std::vector<std::size_t>& untouched) { return untouched.size(); });
  }
  SessionGuards guards_;
};

TEST_F(SessionGuardsTest, WhatAnOpenSessionTouchedIsKept) {
  const auto guard = guards_.begin();
  guard->touch(id(3));
  SessionGuards::Collection collection{guards_};
  EXPECT_EQ(forgettable(collection), 9u);
  guard->touch(id(4));
  EXPECT_EQ(forgettable(collection), 8u);
}

TEST_F(SessionGuardsTest, WhatASessionTouchedThatEndedBeforeTheCollectionIsNot) {
  guards_.begin()->touch(id(3));
  SessionGuards::Collection collection{guards_};
  EXPECT_EQ(forgettable(collection), 10u);
}

TEST_F(SessionGuardsTest, ASessionThatEndsDuringACollectionCountsUntilItsEnd) {
  auto guard = guards_.begin();
  guard->touch(id(3));
  {
    SessionGuards::Collection collection{guards_};
    guard.reset();
    guards_.begin()->touch(id(4));
    EXPECT_EQ(forgettable(collection), 8u);
  }
  SessionGuards::Collection next{guards_};
  EXPECT_EQ(forgettable(next), 10u);
}

}  // namespace
}  // namespace stellarium::cas
