#pragma once
#include "tools/keeper/link.h"

namespace stellarium::server {

/// What the daemon commands may do to the process.
class ServerControl {
 public:
  virtual ~ServerControl() = default;
  /// Ends the server once the running commands have ended (stop cancels them). Returns at once.
  virtual void end(keeper::Ending ending) = 0;
  virtual double uptime_seconds() const = 0;
};

}  // namespace stellarium::server
