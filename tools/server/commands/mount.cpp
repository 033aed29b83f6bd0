#include "tools/server/commands.h"
#include "tools/server/image.h"

namespace stellarium::server {

int run(const cli::MountOptions& options, CommandContext& context) {
  fs::fuse::ViewSpec view;
  std::shared_ptr<fs::Catalog::LayerPin> pin;  // until the mount has its own
  if (options.words.size() == 2) {
    auto opened = open_image(context.store, options.words.front());
    if (!opened) return context.io.complain(opened.error());
    view = {fs::fuse::ViewSpec::Kind::image, opened->image.name, opened->image.layer, opened->image.tree};
    pin = std::move(opened->pin);
  } else {
    view.kind = fs::fuse::ViewSpec::Kind::store;
  }
  view.passthrough = !options.no_passthrough;
  auto device = context.io.receive_device();
  if (!device) return context.io.complain(device.error());
  if (auto mounted = context.mounts.add(std::move(view), options.words.back(), std::move(*device)); !mounted)
    return context.io.complain(mounted.error());
  return 0;
}

}  // namespace stellarium::server
