#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "cdn/http/options.h"

namespace stellarium::cdn::http {

/// When to ask a second time beside a request that is slow: if it is silent for several times as long as nearly all
/// others took to begin, and only for a small share of all requests, so that a remote that is slow as a whole does not
/// get twice the load. (The method is that of "hedged requests": Dean, Barroso, The Tail at Scale, CACM 2013.)
/// Threads: one at a time.
class Hedging {
 public:
  explicit Hedging(const Options& options)
      : factor_{options.hedge_factor}, share_{options.hedge_share}, patience_{options.hedge_at_first} {}

  void sent() { allowance_ = std::min(allowance_ + share_, kMostAtOnce); }
  void answered(Clock::duration after);  ///< the time until an answer began
  Clock::duration patience() const { return patience_; }
  /// Whether one more may be sent, which is counted then.
  bool take();

 private:
  static constexpr std::size_t kWindow = 128, kEnough = 20;
  static constexpr double kMostAtOnce = 8;
  static constexpr milliseconds kLeast{20};  // below that the network's own jitter would be hedged

  double factor_, share_;
  double allowance_ = 1;
  Clock::duration patience_;
  std::array<Clock::duration, kWindow> times_{};
  std::size_t seen_ = 0;
};

}  // namespace stellarium::cdn::http
