#include "cdn/http/attempt_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stellarium::cdn::http {
namespace {

using Meaning = Judgement::Meaning;
using Kind = AttemptPlan::Step::Kind;
using std::chrono::seconds;

const Clock::time_point kStart{seconds{1000}};
const Clock::time_point kDeadline = kStart + seconds{30};

class AttemptPlanTest : public testing::Test {
 protected:
  /// Asks whoever is next, who fails so. Returns which it was, or nothing.
  std::optional<unsigned> ask_and_fail(Meaning meaning = Meaning::busy, Clock::time_point not_before = {}) {
    AttemptPlan::Step step = plan.next(now, kDeadline, breakers, pause);
    if (step.kind == Kind::wait) {
      now = step.at;
      step = plan.next(now, kDeadline, breakers, pause);
    }
    if (step.kind != Kind::ask) return std::nullopt;
    plan.began(step.origin);
    plan.failed(step.origin, meaning, "answers 503", not_before);
    return step.origin;
  }
  void skip(unsigned origin) {
    for (int n = 0; n < 3; ++n) breakers[origin].failed(now);
  }

  Clock::time_point now = kStart;
  std::vector<Breaker> breakers{3, Breaker{3, seconds{5}, seconds{60}}};
  RetryPause pause{milliseconds{50}, milliseconds{2000}, 7};
  AttemptPlan plan{{0, 1, 2}, 10};
  const std::vector<Origin> origins{*parse_origin("https://a"), *parse_origin("https://b:8443"),
                                    *parse_origin("http://c")};
};

TEST_F(AttemptPlanTest, AsksTheOthersAtOnceAndTheFirstAgainAfterAPause) {
  EXPECT_EQ(ask_and_fail(), 0u);
  EXPECT_EQ(ask_and_fail(), 1u);
  EXPECT_EQ(ask_and_fail(), 2u);
  EXPECT_EQ(now, kStart);
  EXPECT_EQ(plan.next(now, kDeadline, breakers, pause).kind, Kind::wait);
  EXPECT_EQ(ask_and_fail(), 0u);
  EXPECT_LE(now, kStart + milliseconds{50});
}

TEST_F(AttemptPlanTest, EndsAfterItsTries) {
  for (int n = 0; n < 10; ++n) EXPECT_TRUE(ask_and_fail()) << n;
  EXPECT_FALSE(ask_and_fail());
  EXPECT_EQ(plan.error("blobs/x", origins, seconds{2}).code, Errc::unavailable);
}

TEST_F(AttemptPlanTest, ATryThatBroughtSomethingIsNotCounted) {
  for (int n = 0; n < 20; ++n) {
    EXPECT_TRUE(ask_and_fail()) << n;
    plan.brought_some();
  }
}

TEST_F(AttemptPlanTest, NobodyIsAskedTwiceForWhatItDoesNotHave) {
  for (unsigned n = 0; n < 3; ++n) EXPECT_EQ(ask_and_fail(Meaning::not_found), n);
  EXPECT_EQ(plan.next(now, kDeadline, breakers, pause).kind, Kind::end);
  EXPECT_EQ(plan.error("blobs/x", origins, {}).code, Errc::not_found);
}

TEST_F(AttemptPlanTest, NotFoundIsSaidOnlyIfEveryOriginSaysSo) {
  ask_and_fail(Meaning::not_found);
  ask_and_fail(Meaning::not_found);
  ask_and_fail(Meaning::busy);
  EXPECT_EQ(plan.error("blobs/x", origins, {}).code, Errc::unavailable);
  ask_and_fail(Meaning::permission);
  EXPECT_EQ(plan.error("blobs/x", origins, {}).code, Errc::permission);
}

TEST_F(AttemptPlanTest, AnOriginThatIsSkippedIsAskedOnlyIfThereIsNoOther) {
  skip(0);
  EXPECT_EQ(ask_and_fail(Meaning::not_found), 1u);
  EXPECT_EQ(ask_and_fail(Meaning::busy), 2u);
  EXPECT_EQ(ask_and_fail(Meaning::not_found), 2u);
  EXPECT_EQ(ask_and_fail(Meaning::not_found), 0u);
}

TEST_F(AttemptPlanTest, APauseThatAnOriginAsksForIsKept) {
  plan = AttemptPlan{{0}, 10};
  ask_and_fail(Meaning::busy, kStart + seconds{9});
  EXPECT_EQ(ask_and_fail(), 0u);
  EXPECT_EQ(now, kStart + seconds{9});
}

TEST_F(AttemptPlanTest, APauseBeyondTheTimeThatIsLeftEndsItAtOnce) {
  plan = AttemptPlan{{0}, 10};
  ask_and_fail(Meaning::busy, kStart + seconds{31});
  EXPECT_EQ(plan.next(now, kDeadline, breakers, pause).kind, Kind::end);
}

TEST_F(AttemptPlanTest, BesideASilentOneAnotherThatIsWellIsAsked) {
  EXPECT_EQ(plan.beside(0, now, breakers), 1u);
  skip(1);
  EXPECT_EQ(plan.beside(0, now, breakers), 2u);
  plan.failed(2, Meaning::wrong, "");
  EXPECT_EQ(plan.beside(0, now, breakers), std::nullopt);
}

TEST_F(AttemptPlanTest, TheErrorIsOneLineWithWhoDidWhatAndWhatToDo) {
  ask_and_fail();
  ask_and_fail(Meaning::wrong);
  const Error error = plan.error("blobs/x", origins, milliseconds{2345});
  EXPECT_EQ(error.context,
            "blobs/x: https://a answers 503; https://b:8443 answers 503 (2 tries in 2.3 s): check the network and the "
            "origins, or try again later");
}

TEST(Breaker, SkipsAfterFailuresInARowAndThenTriesWithOneRequest) {
  Breaker breaker{3, seconds{1}, seconds{3}};
  for (int n = 0; n < 2; ++n) breaker.failed(kStart);
  EXPECT_FALSE(breaker.succeeded());
  for (int n = 0; n < 2; ++n) EXPECT_EQ(breaker.failed(kStart), milliseconds{0});
  EXPECT_EQ(breaker.failed(kStart), seconds{1});
  EXPECT_FALSE(breaker.allows(kStart + milliseconds{999}));
  EXPECT_TRUE(breaker.allows(kStart + seconds{1}));
  breaker.begin(kStart + seconds{1});
  EXPECT_FALSE(breaker.allows(kStart + seconds{1}));  // one is enough
  EXPECT_TRUE(breaker.succeeded());
  EXPECT_TRUE(breaker.allows(kStart + seconds{1}));
}

TEST(Breaker, SkipsForTwiceAsLongEachTimeUpToABound) {
  Breaker breaker{1, seconds{1}, seconds{3}};
  Clock::time_point now = kStart;
  std::vector<milliseconds> skips;
  for (int n = 0; n < 4; ++n) {
    breaker.begin(now);
    skips.push_back(breaker.failed(now));
    EXPECT_EQ(breaker.failed(now), milliseconds{0});  // one that was sent before
    now += skips.back();
  }
  EXPECT_THAT(skips, testing::ElementsAre(seconds{1}, seconds{2}, seconds{3}, seconds{3}));
}

TEST(Breaker, ATrialThatIsGivenUpLeavesRoomForTheNext) {
  Breaker breaker{1, seconds{1}, seconds{1}};
  breaker.failed(kStart);
  breaker.begin(kStart + seconds{1});
  breaker.abandoned();
  EXPECT_TRUE(breaker.allows(kStart + seconds{1}));
}

TEST(RetryPause, IsAnythingUpToABoundThatDoubles) {
  RetryPause pause{milliseconds{50}, milliseconds{300}, 1};
  for (unsigned before = 0; before < 10; ++before) {
    milliseconds longest{0};
    for (int n = 0; n < 200; ++n) longest = std::max(longest, pause.next(before));
    const milliseconds bound = std::min(milliseconds{50 << before}, milliseconds{300});
    EXPECT_LE(longest, bound);
    EXPECT_GE(longest, bound * 8 / 10);
  }
}

}  // namespace
}  // namespace stellarium::cdn::http
