#include "tools/server/image.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "fs/body_reading.h"
#include "fs/clone_bodies.h"

namespace stellarium::server {

Result<OpenImage> open_image(Store& store, const std::string& ref) {
  const auto name = fs::ImageName::parse(ref);
  if (!name) return fail(name.error());
  for (;;) {
    auto image = store.catalog().find(*name);
    if (!image) return fail(image.error());
    auto pin = store.catalog().pin(image->layer);
    // The name may have moved, and the layer been swept, between the two lines above.
    const auto again = store.catalog().find(*name);
    if (!again) return fail(again.error());
    if (again->layer != image->layer) continue;
    fs::LayerReader reader{store.database(), image->layer};
    return OpenImage{std::move(*image), std::move(pin), reader};
  }
}

std::optional<SnapshotRef> parse_snapshot(const std::string& ref) {
  const std::size_t at = ref.find('@');
  if (at == std::string::npos) return std::nullopt;
  return SnapshotRef{ref.substr(0, at), ref.substr(at + 1)};
}

Result<OpenTree> open_tree(Store& store, const std::string& ref) {
  const auto snapshot = parse_snapshot(ref);
  const auto clone = fs::is_clone(store.database(), ref);
  if (!clone) return fail(clone.error());
  if (!snapshot && !*clone) {
    auto image = open_image(store, ref);
    if (!image) return fail(image.error());
    return OpenTree{{std::move(image->pin)}, image->reader, image->image.bytes};
  }
  const auto layers_now = [&]() -> Result<std::vector<fs::LayerId>> {
    if (snapshot) {
      auto found = store.clones().find_snapshot(snapshot->clone, snapshot->snapshot);
      if (!found) return fail(found.error());
      return std::move(found->layers);
    }
    auto found = store.clones().find(ref);
    if (!found) return fail(found.error());
    return std::move(found->layers);
  };
  for (;;) {
    auto layers = layers_now();
    if (!layers) return fail(layers.error());
    std::vector<std::shared_ptr<fs::Catalog::LayerPin>> pins;
    auto lease = store.staging().leases().take();
    for (const fs::LayerId layer : *layers) pins.push_back(store.catalog().pin(layer));
    // It may have changed, and layers been swept, before they were pinned.
    const auto again = layers_now();
    if (!again) return fail(again.error());
    if (*again == *layers)
      return OpenTree{std::move(pins), {store.database(), std::move(*layers)}, 0, std::move(lease)};
  }
}

Result<void> refresh(Store& store, fs::Inode& inode) {
  return fs::refresh_staged(store.staging(), inode);
}

Result<std::size_t> read_body(Store& store, const fs::Inode& inode, std::uint64_t offset, MutableByteSpan out) {
  return fs::read_body({store.tier(), &store.staging()}, inode, offset, out);
}

Result<std::vector<fs::Dirent>> sorted_entries(const fs::LayerReader& reader, fs::Ino dir) {
  std::vector<fs::Dirent> entries;
  auto listing = reader.list(dir, 0);
  for (;;) {
    auto entry = listing.next();
    if (!entry) return fail(entry.error());
    if (!*entry) break;
    entries.push_back(std::move(**entry));
  }
  std::ranges::sort(entries, {}, &fs::Dirent::name);
  return entries;
}

namespace {

Result<bool> skip_or_fail(const Unreadable& unreadable, const std::string& path, const Error& error) {
  if (unreadable && unreadable(path, error)) return true;
  return fail(error, path);
}

/// False: the visitor asked to stop.
Result<bool> walk_below(const fs::LayerReader& reader, const std::string& path, fs::Ino ino, const fs::Inode& inode,
                        const std::function<bool(const Visited&)>& visit, const Unreadable& unreadable) {
  if (!visit({path, ino, inode})) return false;
  if (!S_ISDIR(inode.mode)) return true;
  const auto entries = sorted_entries(reader, ino);
  if (!entries) return skip_or_fail(unreadable, path, entries.error());
  for (const fs::Dirent& entry : *entries) {
    const std::string below = join(path, entry.name);
    const auto found = reader.inode(entry.ino);
    Result<bool> going_on = true;
    if (!found) {
      going_on = skip_or_fail(unreadable, below, found.error());
    } else if (!*found) {
      going_on =
          skip_or_fail(unreadable, below,
                       Error{Errc::corrupt, "names inode " + std::to_string(entry.ino) + ", which does not exist"});
    } else {
      going_on = walk_below(reader, below, entry.ino, **found, visit, unreadable);
    }
    if (!going_on || !*going_on) return going_on;
  }
  return true;
}

}  // namespace

Result<void> walk(const fs::LayerReader& reader, const std::string& path, fs::Ino ino,
                  const std::function<bool(const Visited&)>& visit, const Unreadable& unreadable) {
  const auto inode = reader.inode(ino);
  Result<bool> walked = true;
  if (!inode) {
    walked = skip_or_fail(unreadable, path, inode.error());
  } else if (!*inode) {
    walked = skip_or_fail(unreadable, path, Error{Errc::corrupt, "has no inode"});
  } else {
    walked = walk_below(reader, path, ino, **inode, visit, unreadable);
  }
  if (!walked) return fail(walked.error());
  return {};
}

std::string join(const std::string& dir, const std::string& name) {
  return dir.ends_with('/') ? dir + name : dir + "/" + name;
}

std::string normal_path(const std::string& path) {
  std::string out = "/";
  for (const char c : path) {
    if (c != '/' || out.back() != '/') out.push_back(c);
  }
  if (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

}  // namespace stellarium::server
