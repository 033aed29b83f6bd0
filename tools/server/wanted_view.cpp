#include "tools/server/wanted_view.h"

#include "tools/server/image.h"

namespace stellarium::server {

using fs::fuse::ViewSpec;

Result<WantedView> wanted_view(const std::string& ref, CommandContext& context) {
  if (parse_snapshot(ref)) {
    return fail(Errc::not_supported, ref + ": snapshots cannot be mounted: clone it ('stellarium clone " + ref +
                                         " NAME') and mount the clone");
  }
  const auto of_clone = fs::is_clone(context.store.database(), ref);
  if (!of_clone) return fail(of_clone.error());
  if (!*of_clone) {
    auto opened = open_image(context.store, ref);
    if (!opened) return fail(opened.error());
    return WantedView{{.image = opened->image.name, .layer = opened->image.layer, .tree = opened->image.tree},
                      {std::move(opened->pin)}};
  }
  if (auto free = context.mounts.check_unmounted(ref); !free) return fail(free.error());
  auto clone = context.store.clones().find(ref);
  if (!clone) return fail(clone.error());
  WantedView wanted{
      {.kind = ViewSpec::Kind::clone, .layer = clone->layers.front(), .tree = clone->tree, .clone = clone->name}, {}};
  for (const fs::LayerId layer : clone->layers) wanted.pins.push_back(context.store.catalog().pin(layer));
  return wanted;
}

}  // namespace stellarium::server
