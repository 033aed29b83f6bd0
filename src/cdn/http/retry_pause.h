#pragma once
#include <random>

#include "cdn/http/options.h"

namespace stellarium::cdn::http {

/// How long to wait before asking again: anything from nothing to a bound that doubles each time, so that many who
/// failed at once do not come back at once ("full jitter").
class RetryPause {
 public:
  RetryPause(milliseconds first, milliseconds longest, std::uint64_t seed)
      : first_{first}, longest_{longest}, random_{seed} {}

  /// `before`: how many pauses the request had.
  milliseconds next(unsigned before) {
    milliseconds bound = first_;
    while (before-- > 0 && bound < longest_) bound *= 2;
    bound = std::min(bound, longest_);
    return milliseconds{std::uniform_int_distribution<milliseconds::rep>{0, bound.count()}(random_)};
  }

 private:
  milliseconds first_, longest_;
  std::mt19937_64 random_;
};

}  // namespace stellarium::cdn::http
