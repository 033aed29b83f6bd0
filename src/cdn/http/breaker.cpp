#include "cdn/http/breaker.h"

#include <algorithm>

namespace stellarium::cdn::http {

bool Breaker::allows(Clock::time_point now) const {
  return !skipped_ || (now >= until_ && !trying_);
}

void Breaker::begin(Clock::time_point now) {
  if (skipped_ && now >= until_) trying_ = true;
}

bool Breaker::succeeded() {
  const bool was = skipped_;
  failures_ = 0;
  skipped_ = trying_ = false;
  skip_ = first_;
  return was;
}

milliseconds Breaker::failed(Clock::time_point now) {
  if (skipped_ && now < until_) return milliseconds{0};  // sent before, or because there was no other origin
  if (!skipped_ && ++failures_ < failures_allowed_) return milliseconds{0};
  if (skipped_) skip_ = std::min(skip_ * 2, longest_);
  skipped_ = true;
  trying_ = false;
  until_ = now + skip_;
  return skip_;
}

}  // namespace stellarium::cdn::http
