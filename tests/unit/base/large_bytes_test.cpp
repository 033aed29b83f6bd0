#include "base/large_bytes.h"

#include <gtest/gtest.h>

#include <utility>

#include "base/bytes.h"

namespace stellarium {
namespace {

TEST(LargeBytes, AreZeroedAndMove) {
  constexpr std::size_t kSize = (4u << 20) + 5;
  LargeBytes bytes{kSize};
  ASSERT_GE(bytes.size(), kSize);
  EXPECT_TRUE(all_zero({bytes.data(), bytes.size()}));
  bytes.data()[kSize - 1] = std::byte{7};
  LargeBytes moved{std::move(bytes)};
  EXPECT_EQ(bytes.data(), nullptr);
  EXPECT_EQ(bytes.size(), 0u);
  LargeBytes assigned;
  assigned = std::move(moved);
  EXPECT_EQ(assigned.data()[kSize - 1], std::byte{7});
}

TEST(LargeBytes, OfNoSizeAreNone) {
  EXPECT_EQ(LargeBytes{0}.data(), nullptr);
}

}  // namespace
}  // namespace stellarium
