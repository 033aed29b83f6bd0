#include "fs/fuse/wake_latency.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "support/temp_dir.h"

namespace stellarium::fs::fuse {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::int32_t kAsYouLike = 2'000'000'000;  // microseconds

/// The device is a file here: what would be asked of the kernel is appended to it.
class WakeLatencyTest : public ::testing::Test {
 protected:
  WakeLatencyTest() { std::ofstream{device_}; }

  std::vector<std::int32_t> asked() const {
    std::ifstream file{device_, std::ios::binary};
    const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
    std::vector<std::int32_t> values(bytes.size() / sizeof(std::int32_t));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(std::int32_t));
    return values;
  }
  /// Requests that come `gap` apart, for `length`.
  void requests(WakeLatency& latency, microseconds gap, milliseconds length) {
    for (const auto end = now_ + length; now_ < end; now_ += gap) latency.served(now_);
  }

  /// Whether the stream's end was noticed, which takes a few milliseconds.
  static bool ends(const WakeLatency& latency) {
    const auto deadline = WakeLatency::Clock::now() + std::chrono::seconds{10};
    while (latency.limited() && WakeLatency::Clock::now() < deadline) std::this_thread::sleep_for(WakeLatency::kWindow);
    return !latency.limited();
  }

  test::TempDir dir_;
  const std::filesystem::path device_ = dir_.path() / "cpu_dma_latency";
  WakeLatency::Clock::time_point now_ = WakeLatency::Clock::now();
};

TEST_F(WakeLatencyTest, NothingIsAskedForWhileRequestsAreRare) {
  WakeLatency latency{device_};
  requests(latency, milliseconds{1}, milliseconds{100});
  EXPECT_FALSE(latency.limited());
  EXPECT_TRUE(asked().empty());
}

TEST_F(WakeLatencyTest, AStreamKeepsProcessorsAwakeAndItsEndLetsThemSleep) {
  WakeLatency latency{device_};
  for (int stream = 0; stream < 2; ++stream) {
    requests(latency, microseconds{50}, milliseconds{5});
    EXPECT_TRUE(ends(latency));
    now_ += milliseconds{100};
  }
  EXPECT_EQ(asked(), (std::vector{0, kAsYouLike, 0, kAsYouLike}));
}

TEST_F(WakeLatencyTest, WithoutTheDeviceNothingIsLimited) {
  WakeLatency latency{dir_.path() / "absent"};
  requests(latency, microseconds{50}, milliseconds{10});
  EXPECT_FALSE(latency.limited());
}

}  // namespace
}  // namespace stellarium::fs::fuse
