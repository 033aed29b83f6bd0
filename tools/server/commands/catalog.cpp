#include <fmt/format.h>

#include "cdn/oci/kept_image.h"
#include "fs/companion_name.h"
#include "tools/server/clone_quotas.h"
#include "tools/server/commands.h"
#include "tools/server/companion.h"
#include "tools/server/image.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

// images, clones, info, history: what the catalog knows.
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

/// Empty: nowhere.
std::string mounted_on(const std::vector<fs::fuse::FuseServer::MountSpec>& mounts, const std::string& clone) {
  for (const auto& mount : mounts)
    if (mount.view.kind == fs::fuse::ViewSpec::Kind::clone && mount.view.clone == clone) return mount.mountpoint;
  return {};
}

Json as_json(const fs::Clone& clone, const std::vector<fs::Snapshot>& snapshots, const std::string& mounted_on) {
  Json out{{"name", clone.name},
           {"origin", text::escape(clone.origin)},
           {"created", text::format_time(clone.created.seconds)},
           {"layers", clone.layers.size()},
           {"mounted_on", text::escape(mounted_on)},
           {"snapshots", Json::array()}};
  for (const fs::Snapshot& snapshot : snapshots)
    out["snapshots"].push_back({{"name", snapshot.name}, {"created", text::format_time(snapshot.created.seconds)}});
  return out;
}

int snapshot_info(const SnapshotRef& ref, CommandContext& context) {
  const auto snapshot = context.store.clones().find_snapshot(ref.clone, ref.snapshot);
  if (!snapshot) return context.io.complain(snapshot.error());
  const std::string created = text::format_time(snapshot->created.seconds);
  if (context.global.json) {
    context.io.out(dump(Json{{"schema", 1},
                             {"clone", snapshot->clone},
                             {"snapshot", snapshot->name},
                             {"created", created},
                             {"layers", snapshot->layers.size()}}));
  } else {
    context.io.out(fmt::format("snapshot  {}@{}\ncreated   {}\nlayers    {}\n", snapshot->clone, snapshot->name,
                               created, snapshot->layers.size()));
  }
  return 0;
}

int clone_info(const std::string& name, CommandContext& context) {
  const auto clone = context.store.clones().find(name);
  if (!clone) return context.io.complain(clone.error());
  const auto snapshots = context.store.clones().snapshots(name);
  if (!snapshots) return context.io.complain(snapshots.error());
  const auto quota = quota_of(context.store, name);
  if (!quota) return context.io.complain(quota.error());
  const std::string where = mounted_on(context.mounts.list(), name);
  if (context.global.json) {
    Json out{{"schema", 1}};
    out.update(as_json(*clone, *snapshots, where));
    put_quota(out, *quota);
    context.io.out(dump(out));
    return 0;
  }
  context.io.out(fmt::format("clone     {}\norigin    {}\ncreated   {}\nlayers    {}\nwritten   {}\n", clone->name,
                             text::escape(clone->origin), text::format_time(clone->created.seconds),
                             clone->layers.size(), to_text(*quota)));
  for (const fs::Snapshot& snapshot : *snapshots) {
    context.io.out(fmt::format("snapshot  {}  {}\n", snapshot.name, text::format_time(snapshot.created.seconds)));
  }
  if (!where.empty()) context.io.out("mounted   " + text::escape(where) + "\n");
  return 0;
}

/// What the image came with: its manifest's digest and its configuration; null if it came as files only.
Result<Json> oci_of(Store& store, const fs::Image& image) {
  const auto companion = open_companion(store, image);
  if (!companion) return fail(companion.error());
  if (!*companion) return Json{};
  const auto config = cdn::oci::KeptImage{store.contents(), (*companion)->reader}.config();
  if (!config) return fail(config.error());
  return Json{{"manifest", image.source.substr(image.source.rfind('@') + 1)},
              {"config", Json::parse(*config, nullptr, /*allow_exceptions=*/false)}};
}

int image_info(const std::string& ref, CommandContext& context) {
  const auto opened = open_image(context.store, ref);
  if (!opened) return context.io.complain(opened.error());
  const fs::Image& image = opened->image;
  std::vector<std::string> mounted;
  for (const auto& mount : context.mounts.list()) {
    if (mount.view.kind == fs::fuse::ViewSpec::Kind::image && mount.view.layer == image.layer &&
        mount.view.tree == image.tree)
      mounted.push_back(mount.mountpoint);
  }
  const auto oci = oci_of(context.store, image);
  if (!oci) return context.io.complain(oci.error());
  if (context.global.json) {
    Json out{{"schema", 1}};
    out.update(as_json(image));
    out["layer"] = image.layer;
    out["mounts"] = Json::array();
    for (const std::string& where : mounted) out["mounts"].push_back(text::escape(where));
    if (!oci->is_null()) out["oci"] = *oci;
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

}  // namespace

int run(const cli::ImagesOptions&, CommandContext& context) {
  auto images = context.store.catalog().list();
  if (!images) return context.io.complain(images.error());
  std::erase_if(*images, [](const fs::Image& image) { return fs::is_companion(image.name); });
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

int run(const cli::ClonesOptions&, CommandContext& context) {
  const auto clones = context.store.clones().list();
  if (!clones) return context.io.complain(clones.error());
  const auto mounts = context.mounts.list();
  Json listed{{"schema", 1}, {"clones", Json::array()}};
  for (const fs::Clone& clone : *clones) {
    const auto snapshots = context.store.clones().snapshots(clone.name);
    if (!snapshots) return context.io.complain(snapshots.error());
    const std::string where = mounted_on(mounts, clone.name);
    if (context.global.json) {
      listed["clones"].push_back(as_json(clone, *snapshots, where));
      continue;
    }
    if (context.global.quiet) {
      context.io.out(clone.name + "\n");
    } else {
      context.io.out(fmt::format("{:<24} {:<24} {}{}\n", clone.name, text::escape(clone.origin),
                                 text::format_time(clone.created.seconds),
                                 where.empty() ? "" : "  on " + text::escape(where)));
    }
    for (const fs::Snapshot& snapshot : *snapshots) {
      const std::string name = clone.name + "@" + snapshot.name;
      context.io.out(context.global.quiet
                         ? name + "\n"
                         : fmt::format("{:<24} {:<24} {}\n", name, "", text::format_time(snapshot.created.seconds)));
    }
  }
  if (context.global.json) context.io.out(dump(listed));
  return 0;
}

int run(const cli::InfoOptions& options, CommandContext& context) {
  if (const auto snapshot = parse_snapshot(options.ref)) return snapshot_info(*snapshot, context);
  const auto clone = fs::is_clone(context.store.database(), options.ref);
  if (!clone) return context.io.complain(clone.error());
  return *clone ? clone_info(options.ref, context) : image_info(options.ref, context);
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
