#include <fmt/format.h>

#include "tools/server/commands.h"
#include "tools/server/image.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

// images, info, history: what the catalog knows.
namespace stellarium::server {
namespace {

Json as_json(const fs::Image& image) {
  Json out{{"name", image.name.name},
           {"tag", image.name.tag},
           {"manifest", image.manifest.hex()},
           {"manifest_size", image.manifest_size},
           {"files", image.files},
           {"bytes", image.bytes},
           {"created", time_of(image.created)}};
  put_name(out, "source", image.source);
  return out;
}

}  // namespace

int run(const cli::ImagesOptions&, CommandContext& context) {
  const auto images = context.store.catalog().list();
  if (!images) return context.io.complain(images.error());
  if (context.global.json) {
    JsonListing listing{context.io, "images"};
    for (const fs::Image& image : *images) listing.add(as_json(image));
    listing.finish();
    return 0;
  }
  if (context.global.quiet) {
    for (const fs::Image& image : *images) context.io.out(image.name.text() + "\n");
    return 0;
  }
  context.io.out(fmt::format("{:<32} {:>10} {:>10}  {:<19}  {}\n", "IMAGE", "FILES", "SIZE", "CREATED", "MANIFEST"));
  for (const fs::Image& image : *images) {
    context.io.out(fmt::format("{:<32} {:>10} {:>10}  {:<19}  {}\n", image.name.text(), image.files,
                               text::format_bytes(image.bytes), text::format_time(image.created.seconds),
                               image.manifest.hex().substr(0, 16)));
  }
  return 0;
}

int run(const cli::InfoOptions& options, CommandContext& context) {
  const auto opened = open_image(context.store, options.ref);
  if (!opened) return context.io.complain(opened.error());
  const fs::Image& image = opened->image;
  std::vector<std::string> mounted;
  for (const auto& mount : context.mounts.list()) {
    if (mount.view.kind == fs::fuse::ViewSpec::Kind::image && mount.view.layer == image.layer &&
        mount.view.tree == image.tree)
      mounted.push_back(mount.mountpoint);
  }
  if (context.global.json) {
    Json out{{"schema", 1}};
    out.update(as_json(image));
    out["layer"] = image.layer;
    out["mounts"] = Json::array();
    for (const std::string& where : mounted) out["mounts"].push_back(text::escape(where));
    context.io.out(dump(out));
    return 0;
  }
  context.io.out(fmt::format(
      "image     {}\nmanifest  {} ({})\nfiles     {}\nsize      {} ({} bytes)\ncreated   {}\nsource    {}\n",
      image.name.text(), image.manifest.hex(), text::format_bytes(image.manifest_size), image.files,
      text::format_bytes(image.bytes), image.bytes, text::format_time(image.created.seconds),
      image.source.empty() ? "-" : text::escape(image.source)));
  for (const std::string& where : mounted) context.io.out("mounted   " + text::escape(where) + "\n");
  return 0;
}

int run(const cli::HistoryOptions& options, CommandContext& context) {
  const auto name = fs::ImageName::parse(options.ref);
  if (!name) return context.io.complain(name.error());
  const auto events = context.store.catalog().history(*name);
  if (!events) return context.io.complain(events.error());
  if (context.global.json) {
    JsonListing listing{context.io, "events"};
    for (const auto& event : *events) {
      Json entry{{"when", time_of(event.when)},
                 {"what", event.what},
                 {"image", event.name.text()},
                 {"manifest", event.manifest.hex()}};
      put_name(entry, "detail", event.detail);
      listing.add(entry);
    }
    listing.finish();
    return 0;
  }
  for (const auto& event : *events) {
    context.io.out(fmt::format("{}  {:<8} {}  {}  {}\n", text::format_time(event.when.seconds), event.what,
                               event.name.text(), event.manifest.hex().substr(0, 16), text::escape(event.detail)));
  }
  return 0;
}

}  // namespace stellarium::server
