#include "cdn/http/attempt_plan.h"

#include <algorithm>
#include <utility>

namespace stellarium::cdn::http {
namespace {

using Meaning = Judgement::Meaning;

bool is_final(Meaning meaning) {
  return meaning == Meaning::not_found || meaning == Meaning::permission || meaning == Meaning::too_large ||
         meaning == Meaning::wrong;
}

std::string seconds(Clock::duration spent) {
  const auto tenths = std::chrono::duration_cast<milliseconds>(spent).count() / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

}  // namespace

std::vector<unsigned> AttemptPlan::candidates(Clock::time_point now, const std::vector<Breaker>& breakers) const {
  std::vector<unsigned> open, well;
  for (const unsigned origin : order_) {
    if (origins_[origin].verdict != Meaning::none) continue;
    open.push_back(origin);
    if (breakers[origin].allows(now)) well.push_back(origin);
  }
  return well.empty() ? open : well;
}

AttemptPlan::Step AttemptPlan::next(Clock::time_point now, Clock::time_point deadline,
                                    const std::vector<Breaker>& breakers, RetryPause& pause) {
  const std::vector<unsigned> open = candidates(now, breakers);
  if (open.empty() || tries_left_ == 0) return {};
  if (now >= due_) {
    for (const unsigned origin : open)
      if (!origins_[origin].tried && origins_[origin].not_before <= now) return {Step::Kind::ask, origin, {}};
    Clock::time_point wanted = Clock::time_point::max();
    for (const unsigned origin : open) wanted = std::min(wanted, origins_[origin].not_before);
    for (State& state : origins_) state.tried = false;
    due_ = std::max(now + pause.next(pauses_++), wanted);
  }
  if (due_ >= deadline) return {};
  return {Step::Kind::wait, 0, due_};
}

std::optional<unsigned> AttemptPlan::beside(unsigned origin, Clock::time_point now,
                                            const std::vector<Breaker>& breakers) const {
  for (const unsigned other : order_)
    if (other != origin && origins_[other].verdict == Meaning::none && origins_[other].not_before <= now &&
        breakers[other].allows(now))
      return other;
  return std::nullopt;
}

void AttemptPlan::began(unsigned origin) {
  origins_[origin].tried = true;
  ++begun_;
  if (tries_left_ > 0) --tries_left_;
}

void AttemptPlan::failed(unsigned origin, Meaning meaning, std::string text, Clock::time_point not_before) {
  State& state = origins_[origin];
  if (is_final(meaning)) state.verdict = meaning;
  state.text = std::move(text);
  state.not_before = not_before;
}

bool AttemptPlan::any(Meaning verdict) const {
  return std::ranges::any_of(origins_, [verdict](const State& state) { return state.verdict == verdict; });
}

std::string AttemptPlan::told(const std::vector<Origin>& origins) const {
  std::string all;
  for (const unsigned origin : order_) {
    if (origins_[origin].text.empty()) continue;
    all += (all.empty() ? "" : "; ") + origins[origin].address.name() + " " + origins_[origin].text;
  }
  return all.empty() ? "no origin was asked yet" : all;
}

Error AttemptPlan::error(const std::string& path, const std::vector<Origin>& origins, Clock::duration spent) const {
  const std::string all = path + ": " + told(origins);
  if (!any(Meaning::none)) {  // each has said its last word
    if (any(Meaning::too_large)) return {Errc::invalid_argument, all};
    if (any(Meaning::permission))
      return {Errc::permission, all + ": check the token, the netrc file or the client's certificate"};
    if (!any(Meaning::wrong)) return {Errc::not_found, all + ": no origin has it"};
  }
  return {Errc::unavailable, all + " (" + std::to_string(begun_) + (begun_ == 1 ? " try in " : " tries in ") +
                                 seconds(spent) + "): check the network and the origins, or try again later"};
}

}  // namespace stellarium::cdn::http
