#pragma once
#include <memory>
#include <string>

#include "base/mutex.h"
#include "tools/server/mounts.h"
#include "virtiofsd/guest_server.h"

namespace stellarium::server {

/// The virtual machines that are served. Its workers start with the first one.
///
/// Threads: all functions may be called concurrently.
class Guests {
 public:
  explicit Guests(Mounts& mounts) : mounts_{mounts} {}

  /// Serves `view` on a listening socket, to one front-end after the other, as long as the result lives. While one is
  /// connected it is listed as mounted on `socket`. `table`: what must outlive this server (Mounts::open_session).
  /// Errors: io, invalid_argument (the options).
  Result<std::unique_ptr<virtiofsd::GuestServer::Export>> serve(UniqueFd listening, UniqueFd table,
                                                                const virtiofsd::Device::Options& options,
                                                                const fs::fuse::ViewSpec& view,
                                                                const std::string& socket) EXCLUDES(mutex_);

 private:
  Mounts& mounts_;
  Mutex mutex_;
  std::unique_ptr<virtiofsd::GuestServer> server_ GUARDED_BY(mutex_);  // once there: for ever
};

}  // namespace stellarium::server
