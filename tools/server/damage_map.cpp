#include "tools/server/damage_map.h"

#include <algorithm>
#include <utility>

#include "fs/block_map.h"
#include "fs/records.h"
#include "tools/server/image.h"

namespace stellarium::server {

Result<std::vector<LostFile>> DamageMap::files(const std::function<bool()>& go_on) {
  const auto images = store_.catalog().list();
  if (!images) return fail(images.error());
  for (const fs::Image& image : *images)
    if (auto added = add_image(image, go_on); !added) return fail(added.error());
  if (auto added = add_clones(go_on); !added) return fail(added.error());
  if (auto added = add_volumes(); !added) return fail(added.error());
  return std::exchange(lost_, {});
}

Result<void> DamageMap::add_image(const fs::Image& image, const std::function<bool()>& go_on) {
  const std::string name = image.name.text();
  if (is_lost({image.manifest, image.manifest_size}))
    lost_.push_back({name, "(layer object: the image still works, a rebuild would lose it)"});
  return add_files(
      name, fs::LayerReader{store_.database(), image.layer}, [](fs::Ino) { return true; }, go_on);
}

Result<void> DamageMap::add_files(const std::string& ref, const fs::LayerReader& reader,
                                  const std::function<bool(fs::Ino)>& asked, const std::function<bool()>& go_on) {
  const auto visit = [&](const Visited& visited) {
    const auto content = asked(visited.ino) ? fs::content_of(visited.inode) : std::nullopt;
    if (content && is_lost(*content)) lost_.push_back({ref, visited.path});
    return go_on();
  };
  // One damaged record does not hide the others: a directory that cannot be listed stands for everything below it.
  const auto unreadable = [&](const std::string& path, const Error& error) {
    lost_.push_back({ref, path});
    records_.push_back(ref + " " + path + ": " + to_string(error));
    return true;
  };
  return walk(reader, "/", fs::kRootIno, visit, unreadable);
}

/// What a written layer's own records need and cannot get.
Result<DamageMap::Inodes> DamageMap::lost_inodes(fs::LayerId layer) {
  Inodes lost;
  fs::LayerReader::InodeScan scan = fs::LayerReader{store_.database(), layer}.scan_inodes();
  while (true) {
    const auto next = scan.next();
    if (!next) return fail(next.error(), fs::layer_text(layer));
    if (!*next) return lost;
    const auto content = fs::content_of((*next)->second);
    if (content && is_lost(*content)) lost.insert((*next)->first);
  }
}

Result<void> DamageMap::add_clones(const std::function<bool()>& go_on) {
  const auto layers = fs::written_layers(store_.database());
  if (!layers) {
    records_.push_back("clones: " + to_string(layers.error()));
    return {};
  }
  std::unordered_map<fs::LayerId, Inodes> lost;
  for (const fs::LayerId layer : *layers) {
    if (!go_on()) return {};
    auto inodes = lost_inodes(layer);
    if (!inodes) {
      records_.push_back(to_string(inodes.error()));
    } else if (!inodes->empty()) {
      lost.emplace(layer, std::move(*inodes));
    }
  }
  if (lost.empty()) return {};
  const fs::Clones clones{store_.database(), store_.catalog()};
  const auto all = clones.list();
  if (!all) return fail(all.error());
  for (const fs::Clone& clone : *all) {
    if (auto added = add_tree(clone.name, clone.layers, lost, go_on); !added) return added;
    const auto snapshots = clones.snapshots(clone.name);
    if (!snapshots) return fail(snapshots.error());
    for (const fs::Snapshot& snapshot : *snapshots)
      if (auto added = add_tree(clone.name + "@" + snapshot.name, snapshot.layers, lost, go_on); !added) return added;
  }
  return {};
}

Result<void> DamageMap::add_tree(const std::string& ref, const std::vector<fs::LayerId>& layers,
                                 const std::unordered_map<fs::LayerId, Inodes>& lost,
                                 const std::function<bool()>& go_on) {
  const auto asked = [&](fs::Ino ino) {
    return std::ranges::any_of(layers, [&](fs::LayerId layer) {
      const auto found = lost.find(layer);
      return found != lost.end() && found->second.contains(ino);
    });
  };
  if (!go_on() || std::ranges::none_of(layers, [&](fs::LayerId layer) { return lost.contains(layer); })) return {};
  return add_files(ref, fs::LayerReader{store_.database(), layers}, asked, go_on);
}

Result<void> DamageMap::add_volumes() {
  const auto volumes = store_.volumes().list();
  if (!volumes) return fail(volumes.error());
  for (const auto& [name, record] : *volumes) {
    constexpr std::uint64_t kWindow = 16384;  // blocks that are listed at once
    const auto map = fs::BlockMap::open(store_.database(), record.map);
    if (!map) records_.push_back("volume " + name + ": " + to_string(map.error()));
    for (std::uint64_t block = 0; map && block * fs::kVolumeBlock < record.size; block += kWindow) {
      const auto blocks = map->list(block, block + kWindow);
      if (!blocks) {
        records_.push_back("volume " + name + ": " + to_string(blocks.error()));
        break;
      }
      for (const auto& [at, extent] : *blocks) {
        if (is_lost(extent.id))
          lost_.push_back({"volume " + name, "64 KiB at byte " + std::to_string(at * fs::kVolumeBlock)});
      }
    }
  }
  return {};
}

bool DamageMap::is_lost(const cas::ChunkId& chunk) {
  if (damaged_.contains(chunk)) return true;
  if (complete_) return false;
  const auto present = store_.contents().has_chunk(chunk);
  return !present || (!*present && !store_.lazy().expects(chunk));
}

bool DamageMap::is_lost(const tier::ContentRef& content) {
  if (content.size <= cas::kMaxChunk) return is_lost(content.id);
  const auto known = known_.find(content.id);
  if (known != known_.end()) return known->second;
  auto recipe = store_.contents().recipe(content.id, content.size);
  if (!recipe && recipe.error().code == Errc::not_found) recipe = store_.lazy().recipe(content);
  // A recipe that cannot be read loses the file as well.
  const bool lost =
      !recipe || std::ranges::any_of(recipe->entries, [&](const auto& entry) { return is_lost(entry.id); });
  known_.emplace(content.id, lost);
  return lost;
}

}  // namespace stellarium::server
