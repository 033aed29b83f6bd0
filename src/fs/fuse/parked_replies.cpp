#include "fs/fuse/parked_replies.h"

#include <signal.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>

namespace stellarium::fs::fuse {

ParkedReply::ParkedReply(const Request& request, Reply reply, By by, Interrupted interrupted)
    : sink_{reply.sink()},
      request_{request.id()},
      thread_{request.host_thread()},
      processes_{request.processes()},
      by_{by},
      interrupted_{std::move(interrupted)},
      reply_{std::move(reply)} {}

ParkedReply::~ParkedReply() {
  sink_->parked().remove(request_);
}

std::optional<Reply> ParkedReply::take() {
  const MutexLock lock{mutex_};
  if (!reply_) return std::nullopt;
  std::optional<Reply> taken{std::move(*reply_)};
  reply_.reset();
  return taken;
}

void ParkedReply::interrupt() {
  if (by_ == By::killing_signal && !is_being_killed(processes_, thread_)) return;
  if (auto reply = take()) interrupted_(std::move(*reply));
}

std::shared_ptr<ParkedReply> ParkedReplies::park(const Request& request, Reply reply, ParkedReply::By by,
                                                 ParkedReply::Interrupted interrupted) {
  ParkedReplies& all = reply.sink()->parked();
  auto parked = std::make_shared<ParkedReply>(request, std::move(reply), by, std::move(interrupted));
  all.add(parked);
  return parked;
}

void ParkedReplies::add(const std::shared_ptr<ParkedReply>& parked) {
  {
    const MutexLock lock{mutex_};
    parked_.insert_or_assign(parked->request_, parked);
    const auto early = std::ranges::find(early_, parked->request_);
    if (early == early_.end()) return;
    *early = 0;
  }
  parked->interrupt();
}

void ParkedReplies::remove(std::uint64_t request) {
  const MutexLock lock{mutex_};
  const auto found = parked_.find(request);
  if (found != parked_.end() && found->second.expired()) parked_.erase(found);
}

void ParkedReplies::interrupt(std::uint64_t request) {
  std::shared_ptr<ParkedReply> parked;  // dropped with no lock held: its end takes the lock
  {
    const MutexLock lock{mutex_};
    const auto found = parked_.find(request);
    if (found != parked_.end()) parked = found->second.lock();
    if (!parked) early_[next_early_++ % early_.size()] = request;
  }
  if (parked) parked->interrupt();
}

bool is_being_killed(const HostProcesses& processes, std::uint32_t thread) {
  if (thread == 0) return false;
  const std::string text = processes.read(thread, HostProcesses::File::status);
  const std::string_view status{text};
  constexpr std::string_view kPending =
      "\nSigPnd:\t";  // of the thread: the kernel puts SIGKILL there for whatever kills
  const std::size_t at = status.find(kPending);
  if (at == std::string_view::npos) return false;  // it is in another pid namespace, or gone: nobody waits then
  std::uint64_t pending = 0;
  std::from_chars(status.data() + at + kPending.size(), status.data() + status.size(), pending, 16);
  return (pending & (std::uint64_t{1} << (SIGKILL - 1))) != 0;
}

}  // namespace stellarium::fs::fuse
