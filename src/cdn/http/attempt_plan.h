#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cdn/http/address.h"
#include "cdn/http/breaker.h"
#include "cdn/http/response_check.h"
#include "cdn/http/retry_pause.h"

namespace stellarium::cdn::http {

/// Whom one request asks next, when, and what it says if nobody delivers.
///
/// Method:  in rounds: every origin once, in their order, then a pause. An origin whose answer would be the same again
///          (not found, refused, wrong) is not asked again. Origins that are skipped (Breaker) are asked only if there
///          is no other left.
/// Threads: one at a time.
class AttemptPlan {
 public:
  /// `order`: every origin once.
  AttemptPlan(std::vector<unsigned> order, unsigned tries)
      : order_{std::move(order)}, origins_(order_.size()), tries_left_{tries} {}

  struct Step {
    enum class Kind : std::uint8_t { ask, wait, end } kind = Kind::end;
    unsigned origin = 0;   ///< `ask`
    Clock::time_point at;  ///< `wait`: until then
  };
  /// `end`: there is nothing left to try, or nothing before `deadline`.
  Step next(Clock::time_point now, Clock::time_point deadline, const std::vector<Breaker>& breakers, RetryPause& pause);
  /// Whom to ask beside `origin`, which is silent; nobody: there is no other one that is well.
  std::optional<unsigned> beside(unsigned origin, Clock::time_point now, const std::vector<Breaker>& breakers) const;

  Clock::time_point due() const { return due_; }  ///< until when nobody is to be asked

  void began(unsigned origin);
  void began_beside() { ++begun_; }  ///< which is no try of its own
  unsigned begun() const { return begun_; }
  /// `text`: what it did, after its name. `not_before`: when it wants to be asked again.
  void failed(unsigned origin, Judgement::Meaning meaning, std::string text,
              Clock::time_point not_before = Clock::time_point::min());
  /// It brought so much that this was no failed try.
  void brought_some() { ++tries_left_; }

  /// After `end`, or when the time is over.
  Error error(const std::string& path, const std::vector<Origin>& origins, Clock::duration spent) const;

 private:
  struct State {
    Judgement::Meaning verdict = Judgement::Meaning::none;  // none: it may be asked
    bool tried = false;                                     // in this round
    std::string text;
    Clock::time_point not_before = Clock::time_point::min();
  };
  std::vector<unsigned> candidates(Clock::time_point now, const std::vector<Breaker>& breakers) const;
  bool any(Judgement::Meaning verdict) const;
  std::string told(const std::vector<Origin>& origins) const;

  std::vector<unsigned> order_;
  std::vector<State> origins_;
  unsigned tries_left_, begun_ = 0, pauses_ = 0;
  Clock::time_point due_ = Clock::time_point::min();
};

}  // namespace stellarium::cdn::http
