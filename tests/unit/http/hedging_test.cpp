#include "cdn/http/hedging.h"

#include <gtest/gtest.h>

#include "cdn/http/rate_limit.h"

namespace stellarium::cdn::http {
namespace {

using std::chrono::seconds;

TEST(Hedging, WaitsForSeveralTimesWhatNearlyAllNeed) {
  Hedging hedging{{}};
  EXPECT_EQ(hedging.patience(), seconds{1});
  for (int n = 0; n < 200; ++n) hedging.answered(milliseconds{n % 50 == 0 ? 5000 : 40});
  EXPECT_EQ(hedging.patience(), milliseconds{120});
}

TEST(Hedging, IsForASmallShareOfAllRequests) {
  Hedging hedging{{}};
  int sent = 0;
  for (int n = 0; n < 1000; ++n) {
    hedging.sent();
    if (hedging.take()) ++sent;
  }
  EXPECT_GE(sent, 49);
  EXPECT_LE(sent, 51);
}

TEST(Hedging, DoesNotSaveUpForLater) {
  Hedging hedging{{}};
  for (int n = 0; n < 10'000; ++n) hedging.sent();
  int sent = 0;
  while (hedging.take()) ++sent;
  EXPECT_EQ(sent, 8);
}

TEST(Hedging, CanBeSwitchedOff) {
  Options options;
  options.hedge_share = 0;
  Hedging hedging{options};
  hedging.sent();
  EXPECT_FALSE(hedging.take());
}

TEST(RateLimit, MakesTheNextOneWaitForWhatWasTaken) {
  RateLimit limit;
  const Clock::time_point start{seconds{1000}};
  limit.take(1'000'000, start);
  EXPECT_LE(limit.next(), start);  // no limit
  limit.set(1000, start);
  EXPECT_LE(limit.next(), start);
  limit.take(500, start);
  limit.take(500, start);
  EXPECT_EQ(limit.next(), start + seconds{1});
  limit.set(0, start);
  EXPECT_LE(limit.next(), start);
  limit.set(1, start);
  limit.take(~std::uint64_t{0}, start);
  EXPECT_EQ(limit.next(), start + std::chrono::hours{24});
}

}  // namespace
}  // namespace stellarium::cdn::http
