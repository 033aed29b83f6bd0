#pragma once
#include <algorithm>
#include <cstdint>

#include "cdn/http/options.h"

namespace stellarium::cdn::http {

/// Bytes a second, kept on the average: who begins may take as much as it needs, and the next one waits for it.
/// Threads: one at a time.
class RateLimit {
 public:
  /// 0: no limit. What was taken before the change is not held against the new rate.
  void set(std::uint64_t rate, Clock::time_point now) {
    if (rate == rate_) return;
    rate_ = rate;
    free_ = now;
  }
  /// When the next one may begin; a time that has passed: now.
  Clock::time_point next() const { return rate_ == 0 ? Clock::time_point::min() : free_; }
  void take(std::uint64_t bytes, Clock::time_point now) {
    if (rate_ == 0) return;
    constexpr double kLongest = 86'400;  // what is longer than a day is as good as never, and fits into the clock
    const std::chrono::duration<double> cost{
        std::min(static_cast<double>(bytes) / static_cast<double>(rate_), kLongest)};
    free_ = std::max(free_, now) + std::chrono::duration_cast<Clock::duration>(cost);
  }

 private:
  std::uint64_t rate_ = 0;
  Clock::time_point free_;
};

}  // namespace stellarium::cdn::http
