#pragma once
#include <algorithm>
#include <array>
#include <deque>

#include "cdn/http/options.h"
#include "cdn/objects.h"

namespace stellarium::cdn::http {

/// What was asked for and has not begun, by urgency, each in the order of the calls. Threads: one at a time.
class FetchQueue {
 public:
  struct Entry {
    ObjectRequest request;
    ObjectReader::Done done;
    Clock::time_point asked;
    Result<void> checked;  ///< whether it can be asked for at all
  };
  static constexpr std::array kOrder{Urgency::waited_for, Urgency::soon, Urgency::background};

  void push(Entry entry) { of(entry.request.urgency).push_back(std::move(entry)); }
  std::deque<Entry>& of(Urgency urgency) { return queues_[static_cast<std::size_t>(urgency)]; }

  /// How many requests may be under way for one of this urgency to begin: the others leave places free.
  static unsigned places(Urgency urgency, unsigned parallel) {
    switch (urgency) {
      case Urgency::waited_for:
        return parallel;
      case Urgency::soon:
        return std::max(1u, parallel - parallel / 4);
      case Urgency::background:
        return std::max(1u, parallel / 2);
    }
    return parallel;
  }

 private:
  std::array<std::deque<Entry>, 3> queues_;
};

}  // namespace stellarium::cdn::http
