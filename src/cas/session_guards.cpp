#include "cas/session_guards.h"

#include <algorithm>

namespace stellarium::cas {

void SessionGuards::Guard::touch(const Hash& id) {
  MutexLock lock{guards_.mutex_};
  touched_->add(id);
}

std::unique_ptr<SessionGuards::Guard> SessionGuards::begin() {
  auto guard = std::make_unique<Guard>(*this);
  MutexLock lock{mutex_};
  open_.push_back(guard->touched_);
  return guard;
}

void SessionGuards::end(const Guard& guard) {
  MutexLock lock{mutex_};
  if (std::erase(open_, guard.touched_) != 0 && collections_ != 0) ended_.push_back(guard.touched_);
}

SessionGuards::Collection::Collection(SessionGuards& guards) : guards_{guards} {
  MutexLock lock{guards_.mutex_};
  ++guards_.collections_;
}

SessionGuards::Collection::~Collection() {
  MutexLock lock{guards_.mutex_};
  if (--guards_.collections_ == 0) guards_.ended_.clear();
}

std::vector<std::size_t> SessionGuards::untouched(std::span<const Hash> ids) const {
  std::vector<std::size_t> found;
  for (std::size_t at = 0; at < ids.size(); ++at) {
    const auto relies = [&](const auto& filter) { return filter->may_contain(ids[at]); };
    if (std::ranges::none_of(open_, relies) && std::ranges::none_of(ended_, relies)) found.push_back(at);
  }
  return found;
}

}  // namespace stellarium::cas
