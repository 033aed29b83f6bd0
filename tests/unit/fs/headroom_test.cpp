#include "fs/headroom.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace stellarium::fs {
namespace {

constexpr std::uint64_t kMiB = 1u << 20, kGiB = 1u << 30;

TEST(HeadroomMark, IsA200thWithinBoundsAndA32ndOfSmallFileSystems) {
  EXPECT_EQ(Headroom::mark_for(40 * kGiB), 40 * kGiB / 200);
  EXPECT_EQ(Headroom::mark_for(4000 * kGiB), 512 * kMiB);
  EXPECT_EQ(Headroom::mark_for(2 * kGiB), 32 * kMiB);
  EXPECT_EQ(Headroom::mark_for(192 * kMiB), 6 * kMiB);
  EXPECT_EQ(Headroom::mark_for(0), 0u);
}

class HeadroomTest : public testing::Test {
 protected:
  std::uint64_t free_ = 100 * kMiB;
  int asked_ = 0;
  Headroom headroom_{"/", [this] {
                       ++asked_;
                       return Headroom::Space{320 * kMiB, free_};  // a mark of 10 MiB
                     }};
};

TEST_F(HeadroomTest, AdmitsDownToTheMarkAndNotAByteFurther) {
  EXPECT_TRUE(headroom_.admit(90 * kMiB));
  free_ = 10 * kMiB;
  const auto refused = headroom_.admit(1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(errno_of(refused.error()), ENOSPC);
  EXPECT_TRUE(headroom_.is_short());
  EXPECT_EQ(headroom_.state().refused, 1u);
}

TEST_F(HeadroomTest, CountsWhatItAdmittedUntilItAsksAgain) {
  EXPECT_TRUE(headroom_.admit(60 * kMiB));
  free_ = 40 * kMiB;  // it was written
  EXPECT_FALSE(headroom_.admit(31 * kMiB));
  EXPECT_TRUE(headroom_.admit(30 * kMiB));
}

TEST_F(HeadroomTest, AsksTheHostSeldomWhileThereIsRoom) {
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(headroom_.admit(1));
  EXPECT_LT(asked_, 200) << "1,000 writes within a few milliseconds";
}

TEST_F(HeadroomTest, SeesRoomThatCameBackAtOnce) {
  free_ = 0;
  EXPECT_FALSE(headroom_.admit(1));
  free_ = 100 * kMiB;
  EXPECT_TRUE(headroom_.admit(50 * kMiB));
  EXPECT_FALSE(headroom_.is_short());
}

TEST_F(HeadroomTest, SaysThatItIsShortOnceAtATime) {
  int told = 0;
  headroom_.set_on_short([&] { ++told; });
  EXPECT_TRUE(headroom_.admit(1));
  EXPECT_EQ(told, 0);
  free_ = 0;
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(headroom_.admit(kGiB));
  EXPECT_GE(told, 1);
  EXPECT_LT(told, 50);
}

TEST(Headroom, LimitsNothingWhereItCannotMeasure) {
  Headroom headroom{"/", [] { return Headroom::Space{}; }};
  EXPECT_TRUE(headroom.admit(kGiB));
  EXPECT_FALSE(headroom.is_short());
}

}  // namespace
}  // namespace stellarium::fs
