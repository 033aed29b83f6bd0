#include "tools/server/commands.h"
#include "tools/server/image.h"

namespace stellarium::server {
namespace {

using fs::fuse::ViewSpec;

struct Wanted {
  ViewSpec view;
  std::vector<std::shared_ptr<fs::Catalog::LayerPin>> pins;  // until the mount has its own
};

Result<Wanted> wanted_view(const cli::MountOptions& options, CommandContext& context) {
  if (options.words.size() < 2) return Wanted{{.kind = ViewSpec::Kind::store}, {}};
  const std::string& ref = options.words.front();
  if (parse_snapshot(ref)) {
    return fail(Errc::not_supported, ref + ": snapshots cannot be mounted: clone it ('stellarium clone " + ref +
                                         " NAME') and mount the clone");
  }
  const auto of_clone = fs::is_clone(context.store.database(), ref);
  if (!of_clone) return fail(of_clone.error());
  if (!*of_clone) {
    auto opened = open_image(context.store, ref);
    if (!opened) return fail(opened.error());
    return Wanted{{.image = opened->image.name, .layer = opened->image.layer, .tree = opened->image.tree},
                  {std::move(opened->pin)}};
  }
  if (auto free = context.mounts.check_unmounted(ref); !free) return fail(free.error());
  auto clone = context.store.clones().find(ref);
  if (!clone) return fail(clone.error());
  Wanted wanted{
      {.kind = ViewSpec::Kind::clone, .layer = clone->layers.front(), .tree = clone->tree, .clone = clone->name}, {}};
  for (const fs::LayerId layer : clone->layers) wanted.pins.push_back(context.store.catalog().pin(layer));
  return wanted;
}

}  // namespace

int run(const cli::MountOptions& options, CommandContext& context) {
  auto wanted = wanted_view(options, context);
  if (!wanted) return context.io.complain(wanted.error());
  wanted->view.passthrough = !options.no_passthrough;
  auto device = context.io.receive_device(wanted->view.kind != ViewSpec::Kind::image);
  if (!device) return context.io.complain(device.error());
  if (auto mounted = context.mounts.add(std::move(wanted->view), options.words.back(), std::move(*device)); !mounted)
    return context.io.complain(mounted.error());
  return 0;
}

}  // namespace stellarium::server
