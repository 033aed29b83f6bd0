#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/fuse/session.h"
#include "virtiofsd/device.h"
#include "virtiofsd/event_workers.h"

namespace stellarium::virtiofsd {

/// Serves virtual machines: any number of sockets, on each one front-end after the other, with one pool of workers.
///
/// Threads: all functions may be called concurrently.
class GuestServer {
 public:
  /// Makes what a device shows, anew for each front-end that connects. `window`: where files can be mapped; may be
  /// null.
  using OpenSession =
      std::function<Result<std::shared_ptr<fs::fuse::Session>>(std::shared_ptr<fs::fuse::DaxWindow> window)>;

  static Result<std::unique_ptr<GuestServer>> start(unsigned workers);
  ~GuestServer();

  /// Serves a listening socket for as long as the returned object lives. Errors: io.
  class Export {
   public:
    virtual ~Export() = default;  ///< ends the device that is connected
    /// Called on a worker when a front-end that was connected has gone, or at once if that was before; must not wait,
    /// and may be called a last time while this object ends.
    virtual void set_on_ended(std::function<void()> hook) = 0;
  };
  Result<std::unique_ptr<Export>> serve(UniqueFd listening, const Device::Options& options, OpenSession open_session);

 private:
  class Socket;
  explicit GuestServer(std::shared_ptr<EventWorkers> workers) : workers_{std::move(workers)} {}
  const std::shared_ptr<EventWorkers> workers_;
};

}  // namespace stellarium::virtiofsd
