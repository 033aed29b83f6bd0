#include "tools/server/commands.h"
#include "tools/server/wanted_view.h"

namespace stellarium::server {

using fs::fuse::ViewSpec;

int run(const cli::MountOptions& options, CommandContext& context) {
  auto wanted = options.words.size() < 2 ? Result<WantedView>{WantedView{{.kind = ViewSpec::Kind::store}, {}}}
                                         : wanted_view(options.words.front(), context);
  if (!wanted) return context.io.complain(wanted.error());
  wanted->view.passthrough = !options.no_passthrough;
  auto device = context.io.receive_device(wanted->view.kind != ViewSpec::Kind::image);
  if (!device) return context.io.complain(device.error());
  if (auto mounted = context.mounts.add(std::move(wanted->view), options.words.back(), std::move(*device)); !mounted)
    return context.io.complain(mounted.error());
  return 0;
}

}  // namespace stellarium::server
