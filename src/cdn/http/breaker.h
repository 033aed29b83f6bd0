#pragma once
#include "cdn/http/options.h"

namespace stellarium::cdn::http {

/// Whether to ask an origin: one that failed several times in a row is skipped for a while, then one request tries
/// whether it is back. Each time that it is not, the while doubles.
///
/// Shape: `begin` for each request that is sent, then one of the other three. Threads: one at a time.
class Breaker {
 public:
  Breaker(unsigned failures, milliseconds first, milliseconds longest)
      : failures_allowed_{failures}, first_{first}, longest_{longest}, skip_{first} {}

  bool allows(Clock::time_point now) const;
  void begin(Clock::time_point now);
  /// It answered, whatever it said. Returns whether it had been skipped.
  bool succeeded();
  /// Returns for how long it is skipped now; 0: it is not, or was already.
  milliseconds failed(Clock::time_point now);
  void abandoned() { trying_ = false; }  ///< nobody will know

 private:
  unsigned failures_allowed_;
  milliseconds first_, longest_, skip_;
  unsigned failures_ = 0;
  bool skipped_ = false;  // until `until_`, and then while one request tries
  bool trying_ = false;
  Clock::time_point until_;
};

}  // namespace stellarium::cdn::http
