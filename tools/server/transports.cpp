#include "tools/server/transports.h"

namespace stellarium::server {
namespace {

constexpr std::chrono::seconds kBetweenStarts{1};

}  // namespace

Result<std::shared_ptr<cdn::ObjectReader>> Transports::find(const std::string& remote) {
  const MutexLock lock{mutex_};
  if (closed_) return fail(Errc::cancelled, "the server is ending");
  const auto found = running_.find(remote);
  if (found != running_.end() && !found->second.client->is_lost()) return found->second.client;
  if (found != running_.end() && Clock::now() - found->second.started < kBetweenStarts)
    return fail(Errc::unavailable, "what speaks to remote " + remote + " has ended: see run/server.log in the store");
  auto socket = link_.start_transport(remote);
  if (!socket) return fail(Errc::unavailable, "remote " + remote + ": " + socket.error().context);
  Running running{std::make_shared<transport::ObjectClient>(protocol::Channel{std::move(*socket)}), Clock::now()};
  running_.insert_or_assign(remote, running);
  return running.client;
}

void Transports::close() {
  std::map<std::string, Running> ended;
  {
    const MutexLock lock{mutex_};
    closed_ = true;
    ended.swap(running_);
  }
  for (auto& [remote, running] : ended) running.client->close();
}

}  // namespace stellarium::server
