#include "virtiofsd/guest_queue.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/log.h"

namespace stellarium::virtiofsd {
namespace {

constexpr std::chrono::seconds kPatience{5};  // of a stop with requests that are still served

}  // namespace

void GuestQueue::set_layout(const Virtqueue::Layout& layout) {
  const MutexLock lock{mutex_};
  layout_ = layout;
}

Virtqueue::Layout GuestQueue::layout() const {
  const MutexLock lock{mutex_};
  return layout_;
}

void GuestQueue::set_call(UniqueFd eventfd) {
  const MutexLock lock{mutex_};
  call_ = std::move(eventfd);
}

Result<void> GuestQueue::set_memory(std::shared_ptr<const GuestMemory> memory) {
  const MutexLock lock{mutex_};
  memory_ = std::move(memory);
  if (!queue_) return {};
  auto moved = queue_->move_to(*memory_);
  if (!moved) broken_ = true;
  return moved;
}

Result<void> GuestQueue::start() {
  const MutexLock lock{mutex_};
  if (!memory_) return fail(Errc::invalid_argument, "a queue is started before there is memory");
  auto queue = Virtqueue::create(layout_, *memory_);
  if (!queue) return fail(queue.error());
  queue_ = *queue;
  broken_ = false;
  if (!inflight_) return {};
  const auto over = inflight_->take_over(queue_->used_index(), layout_.size);
  taken_over_.assign(over.heads.begin(), over.heads.end());
  // The front-end knows what came back; what was taken besides is known here only.
  if (over.known) queue_->set_next(static_cast<std::uint16_t>(queue_->used_index() + over.heads.size()));
  if (!over.heads.empty()) log::info("{} requests of a guest are taken over", over.heads.size());
  return {};
}

void GuestQueue::set_inflight(std::optional<InflightQueue> inflight) {
  const MutexLock lock{mutex_};
  inflight_ = std::move(inflight);
}

void GuestQueue::enable(bool enabled) {
  const MutexLock lock{mutex_};
  enabled_ = enabled;
}

std::uint16_t GuestQueue::stop() {
  MutexLock lock{mutex_};
  if (!queue_) return layout_.base;
  layout_.base = queue_->next();
  const bool was_enabled = std::exchange(enabled_, false);
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (taken_ > 0 && std::chrono::steady_clock::now() < until) lock.wait_for(given_back_, kPatience);
  if (taken_ > 0) log::warn("a guest's queue is stopped with {} requests unanswered", taken_);
  queue_.reset();
  taken_over_.clear();
  ++run_;
  taken_ = 0;
  enabled_ = was_enabled;
  return layout_.base;
}

std::optional<GuestQueue::Taken> GuestQueue::take() {
  const MutexLock lock{mutex_};
  while (queue_ && enabled_ && !broken_) {
    if (!taken_over_.empty()) {
      const std::uint16_t head = taken_over_.front();
      taken_over_.pop_front();
      ++taken_;
      return Taken{queue_->chain_at(*memory_, head), memory_, run_, true};
    }
    auto chain = queue_->pop(*memory_);
    if (!chain) {
      log::error("a guest's queue stops: {}", to_string(chain.error()));
      broken_ = true;
    } else if (*chain) {
      ++taken_;
      if (inflight_) inflight_->taken((*chain)->head);
      return Taken{std::move(**chain), memory_, run_};
    } else if (!queue_->wait_for_kick()) {
      break;
    }
  }
  return std::nullopt;
}

void GuestQueue::give_back(const Taken& taken, std::uint32_t written) {
  const MutexLock lock{mutex_};
  if (taken.run != run_) return;
  --taken_;
  given_back_.notify_all();
  if (!queue_ || broken_) return;
  if (inflight_) inflight_->giving_back(taken.chain.head);
  queue_->push(taken.chain.head, written);
  if (inflight_) inflight_->given_back(taken.chain.head, queue_->used_index());
  const std::uint64_t one = 1;
  if (queue_->wants_call() && call_) (void)!::write(call_.get(), &one, sizeof one);
}

}  // namespace stellarium::virtiofsd
