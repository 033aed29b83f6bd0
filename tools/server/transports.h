#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "cdn/objects.h"
#include "tools/keeper/link.h"
#include "tools/transport/object_client.h"

namespace stellarium::server {

/// The processes that speak to remotes for this server, which has no network: one a remote, started by the keeper when
/// it is wanted and again when it has ended.
///
/// Threads: all functions may be called concurrently.
class Transports {
 public:
  explicit Transports(keeper::KeeperLink& link) : link_{link} {}

  /// Errors: unavailable (it ended a moment ago, or cannot be started).
  Result<std::shared_ptr<cdn::ObjectReader>> find(const std::string& remote) EXCLUDES(mutex_);
  void close() EXCLUDES(mutex_);  ///< ends them all: whoever waits for one is told so

 private:
  using Clock = std::chrono::steady_clock;
  struct Running {
    std::shared_ptr<transport::ObjectClient> client;
    Clock::time_point started;
  };
  keeper::KeeperLink& link_;
  Mutex mutex_;
  std::map<std::string, Running> running_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace stellarium::server
