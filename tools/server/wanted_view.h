#pragma once
#include <memory>
#include <string>
#include <vector>

#include "fs/catalog.h"
#include "fs/fuse/fuse_server.h"
#include "tools/server/command_context.h"

namespace stellarium::server {

/// What a reference shows, to be mounted or served.
struct WantedView {
  fs::fuse::ViewSpec view;
  std::vector<std::shared_ptr<fs::Catalog::LayerPin>> pins;  ///< keep it until the mount has its own
};

/// An image, or a clone that is not mounted. Errors: not_found, busy (mounted, saying where), not_supported (a
/// snapshot).
Result<WantedView> wanted_view(const std::string& ref, CommandContext& context);

}  // namespace stellarium::server
