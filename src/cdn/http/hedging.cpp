#include "cdn/http/hedging.h"

#include <algorithm>

namespace stellarium::cdn::http {

void Hedging::answered(Clock::duration after) {
  times_[seen_++ % kWindow] = after;
  const std::size_t known = std::min(seen_, kWindow);
  if (known < kEnough || seen_ % 8 != 0) return;  // it moves slowly
  auto sorted = times_;
  const auto at = sorted.begin() + static_cast<std::ptrdiff_t>(known * 95 / 100);
  std::nth_element(sorted.begin(), at, sorted.begin() + static_cast<std::ptrdiff_t>(known));
  const std::chrono::duration<double> patience = std::chrono::duration<double>(*at) * factor_;
  patience_ = std::max<Clock::duration>(std::chrono::duration_cast<Clock::duration>(patience), kLeast);
}

bool Hedging::take() {
  if (share_ <= 0 || allowance_ < 1) return false;
  allowance_ -= 1;
  return true;
}

}  // namespace stellarium::cdn::http
