#include "tools/server/guests.h"

#include <algorithm>
#include <thread>

namespace stellarium::server {

Result<std::unique_ptr<virtiofsd::GuestServer::Export>> Guests::serve(UniqueFd listening, UniqueFd table,
                                                                      const virtiofsd::Device::Options& options,
                                                                      const fs::fuse::ViewSpec& view,
                                                                      const std::string& socket) {
  const MutexLock lock{mutex_};
  if (!server_) {
    auto started = virtiofsd::GuestServer::start(std::max(std::thread::hardware_concurrency(), 2u));
    if (!started) return fail(started.error());
    server_ = std::move(*started);
  }
  return server_->serve(std::move(listening), options,
                        [this, view, socket, table = std::make_shared<const UniqueFd>(std::move(table))](
                            std::shared_ptr<fs::fuse::DaxWindow> window) {
                          return mounts_.open_session(view, socket, *table, std::move(window));
                        });
}

}  // namespace stellarium::server
