#include "fs/clones.h"

#include <time.h>

#include <algorithm>
#include <set>

#include "fs/clock.h"
#include "fs/families.h"
#include "fs/layer_store.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

using Batch = cas::Database::Batch;

constexpr std::size_t kMaxChain = 256;

/// Records of clones and snapshots look like those of images; a clone has no tag.
std::string clone_key(std::string_view clone, std::string_view snapshot = {}) {
  return name_key(clone, snapshot);
}

tl::unexpected<Error> no_such_clone(const std::string& name) {
  return fail(Errc::not_found, "there is no clone " + name);
}

Result<void> check_name(const std::string& name, const char* what) {
  const auto parsed = ImageName::parse(name);
  if (!parsed || parsed->name != name) {
    return fail(Errc::invalid_argument, std::string{what} + " " + name +
                                            ": expected 1 to 128 letters, digits, '.', '_' or '-', not beginning with "
                                            "'.' or '-'");
  }
  return {};
}

Result<std::optional<NameRecord>> read_record(const cas::Database& database, const std::string& key) {
  const auto value = database.get(kCloneFamily, key);
  if (!value) return fail(value.error());
  if (!*value) return std::nullopt;
  const auto record = decode_name(**value);
  if (!record) return fail(record.error(), key.substr(0, key.find('\0')));
  return *record;
}

Result<LayerRecord> layer_of(const cas::Database& database, LayerId layer) {
  const auto record = read_layer(database, layer);
  if (!record) return fail(record.error());
  if (!*record) return fail(Errc::corrupt, "layer " + std::to_string(layer) + " is missing");
  return **record;
}

/// Inode numbers that no layer at or below this one has given out.
Ino next_ino_over(const LayerRecord& record) {
  return record.state == LayerRecord::State::sealed ? record.files + 1 : record.next_ino;
}

Result<Clone> assemble(const cas::Database& database, const std::string& name, const NameRecord& record) {
  const auto top = layer_of(database, record.layer);
  if (!top) return fail(top.error(), "clone " + name);
  auto layers = layer_chain(database, record.layer);
  if (!layers) return fail(layers.error(), "clone " + name);
  return Clone{name, top->tree, std::move(*layers), record.created, record.source};
}

Result<Snapshot> assemble(const cas::Database& database, const std::string& clone, const std::string& name,
                          const NameRecord& record) {
  auto found = assemble(database, clone + "@" + name, record);
  if (!found) return fail(found.error());
  return Snapshot{clone, name, found->tree, std::move(found->layers), record.created};
}

/// Calls `visit` with every record whose key begins with `prefix`.
Result<void> each_record(const cas::Database& database, const std::string& prefix,
                         const std::function<Result<void>(std::string_view key, const NameRecord&)>& visit) {
  const auto cursor = database.scan(kCloneFamily, prefix, prefix_end(prefix));
  for (; cursor->valid(); cursor->next()) {
    const auto record = decode_name(cursor->value());
    if (!record) return fail(record.error(), "a clone");
    if (auto visited = visit(cursor->key(), *record); !visited) return visited;
  }
  return cursor->status();
}

}  // namespace

Result<std::vector<LayerId>> layer_chain(const cas::Database& database, LayerId top) {
  std::vector<LayerId> layers;
  for (LayerId layer = top; layer != 0;) {
    if (layers.size() == kMaxChain) return fail(Errc::corrupt, "more than 256 layers over one another");
    const auto record = layer_of(database, layer);
    if (!record) return fail(record.error());
    layers.push_back(layer);
    layer = record->parent;
  }
  return layers;
}

Result<std::vector<LayerId>> clone_layers(const cas::Database& database) {
  std::vector<LayerId> layers;
  auto read = each_record(database, {}, [&](std::string_view, const NameRecord& record) -> Result<void> {
    layers.push_back(record.layer);
    return {};
  });
  if (!read) return fail(read.error());
  return layers;
}

Result<std::vector<LayerId>> written_layers(const cas::Database& database, const std::optional<std::string>& name) {
  std::set<LayerId> written;
  const std::string prefix = name ? clone_key(*name) : std::string{};
  auto read = each_record(database, prefix, [&](std::string_view, const NameRecord& record) -> Result<void> {
    const auto chain = layer_chain(database, record.layer);
    if (!chain) return fail(chain.error());
    written.insert(chain->begin(), std::prev(chain->end()));  // the last one is the image
    return {};
  });
  if (!read) return fail(read.error());
  return std::vector<LayerId>{written.begin(), written.end()};
}

Result<bool> is_clone(const cas::Database& database, std::string_view name) {
  const auto record = read_record(database, clone_key(name));
  if (!record) return fail(record.error());
  return record->has_value();
}

Result<void> Clones::check_new_name(const std::string& name) const {
  const auto taken = is_clone(database_, name);
  if (!taken) return fail(taken.error());
  if (*taken) return fail(Errc::exists, "there is a clone " + name + " already");
  const auto image = has_image(database_, name);
  if (!image) return fail(image.error());
  if (*image) return fail(Errc::exists, "there is an image " + name + " already: a clone needs another name");
  return {};
}

Result<Clone> Clones::create(const std::string& name, const std::vector<LayerId>& layers, std::string origin) {
  auto made = create_all({name}, layers, std::move(origin));
  if (!made) return fail(made.error());
  return std::move(made->front());
}

Result<std::vector<Clone>> Clones::create_all(const std::vector<std::string>& names, const std::vector<LayerId>& layers,
                                              std::string origin, const std::vector<QuotaRecord>& quotas) {
  std::set<std::string_view> different;
  for (const std::string& name : names) {
    if (auto ok = check_name(name, "clone name"); !ok) return fail(ok.error());
    if (!different.insert(name).second) return fail(Errc::invalid_argument, "the name " + name + " is given twice");
  }
  const NameRecord record{.layer = 0, .created = now(), .source = std::move(origin)};
  auto next = names.begin();
  const auto added = catalog_.add_layers(names.size(), [&](Batch& batch, LayerId layer, TreeId tree) -> Result<void> {
    const auto number = static_cast<std::size_t>(next - names.begin());
    const std::string& name = *next++;
    if (auto free = check_new_name(name); !free) return free;
    const auto below = layer_of(database_, layers.front());
    if (!below) return fail(below.error());
    if (below->state != LayerRecord::State::sealed && below->state != LayerRecord::State::frozen)
      return fail(Errc::not_found, "what " + name + " was to be a clone of was removed meanwhile");
    put_layer(batch, layer,
              {.state = LayerRecord::State::writable,
               .tree = tree,
               .manifest = {},
               .parent = layers.front(),
               .next_ino = next_ino_over(*below)});
    NameRecord named = record;
    named.layer = layer;
    batch.put(kCloneFamily, clone_key(name), encode_name(named));
    if (!quotas.empty()) put_quota(batch, name, quotas.at(number));
    return {};
  });
  if (!added) return fail(added.error());
  std::vector<Clone> made;
  for (std::size_t at = 0; at < names.size(); ++at) {
    made.push_back({names[at], (*added)[at].tree, layers, record.created, record.source});
    made.back().layers.insert(made.back().layers.begin(), (*added)[at].layer);
  }
  return made;
}

Result<Clone> Clones::find(const std::string& name) const {
  const auto record = read_record(database_, clone_key(name));
  if (!record) return fail(record.error());
  if (!*record) return no_such_clone(name);
  return assemble(database_, name, **record);
}

Result<std::vector<Clone>> Clones::list() const {
  std::vector<Clone> clones;
  auto read = each_record(database_, {}, [&](std::string_view key, const NameRecord& record) -> Result<void> {
    if (!key.ends_with('\0')) return {};  // a snapshot
    auto clone = assemble(database_, std::string{key.substr(0, key.size() - 1)}, record);
    if (!clone) return fail(clone.error());
    clones.push_back(std::move(*clone));
    return {};
  });
  if (!read) return fail(read.error());
  return clones;
}

Result<void> Clones::rename(const std::string& from, const std::string& to) {
  if (auto ok = check_name(to, "clone name"); !ok) return ok;
  return catalog_.change_clones([&](Batch& batch) -> Result<void> {
    for (const auto& taken : {is_clone(database_, to), has_image(database_, to)}) {
      if (!taken) return fail(taken.error());
      if (*taken) return fail(Errc::exists, "the name " + to + " is taken already");
    }
    bool found = false;
    auto moved = each_record(database_, clone_key(from), [&](std::string_view key, const NameRecord& record) {
      found = true;
      batch.erase(kCloneFamily, key);
      batch.put(kCloneFamily, to + std::string{key.substr(from.size())}, encode_name(record));
      return Result<void>{};
    });
    if (!moved) return moved;
    if (!found) return no_such_clone(from);
    return move_quota(database_, batch, from, to);
  });
}

Result<void> Clones::remove(const std::string& name) {
  return catalog_.change_clones([&](Batch& batch) { return put_removal(batch, {name}); });
}

Result<void> Clones::put_removal(Batch& batch, const std::vector<std::string>& names) const {
  for (const std::string& name : names) {
    const std::size_t at = name.find('@');
    if (at != std::string::npos) {
      if (auto gone = put_snapshot_removal(batch, name.substr(0, at), name.substr(at + 1)); !gone) return gone;
      continue;
    }
    bool found = false;
    auto gone = each_record(database_, clone_key(name), [&](std::string_view key, const NameRecord&) {
      found = true;
      batch.erase(kCloneFamily, key);
      return Result<void>{};
    });
    if (!gone) return gone;
    if (!found) return no_such_clone(name);
    put_quota(batch, name, std::nullopt);
  }
  return {};
}

Result<void> Clones::check_snapshot(const std::string& clone, const std::string& name) const {
  if (auto ok = check_name(name, "snapshot name"); !ok) return ok;
  const auto record = read_record(database_, clone_key(clone));
  if (!record) return fail(record.error());
  if (!*record) return no_such_clone(clone);
  const auto taken = read_record(database_, clone_key(clone, name));
  if (!taken) return fail(taken.error());
  if (*taken) return fail(Errc::exists, "there is a snapshot " + clone + "@" + name + " already");
  return {};
}

Result<void> Clones::put_snapshot(Batch& batch, const std::string& clone, const std::string& name,
                                  const NewTop& top) const {
  if (auto ok = check_snapshot(clone, name); !ok) return ok;
  auto record = read_record(database_, clone_key(clone));
  if (!record) return fail(record.error());
  const auto chain = layer_chain(database_, (*record)->layer);
  if (!chain) return fail(chain.error());
  if (chain->size() == kMaxChain)
    return fail(Errc::out_of_space, "clone " + clone + " lies over 255 layers: 'commit' it and clone the image");
  auto frozen = layer_of(database_, (*record)->layer);
  if (!frozen) return fail(frozen.error());
  // The clone keeps its tree, so that the node ids of a mount stay; the snapshot gets the new one.
  put_layer(batch, top.layer,
            {.state = LayerRecord::State::writable,
             .tree = frozen->tree,
             .manifest = {},
             .parent = (*record)->layer,
             .next_ino = top.next_ino.value_or(frozen->next_ino)});
  frozen->state = LayerRecord::State::frozen;
  frozen->tree = top.tree;
  put_layer(batch, (*record)->layer, *frozen);
  batch.put(kCloneFamily, clone_key(clone, name), encode_name({(*record)->layer, now(), {}}));
  (*record)->layer = top.layer;
  batch.put(kCloneFamily, clone_key(clone), encode_name(**record));
  return {};
}

Result<Snapshot> Clones::find_snapshot(const std::string& clone, const std::string& name) const {
  const auto record = read_record(database_, clone_key(clone, name));
  if (!record) return fail(record.error());
  if (name.empty() || !*record) return fail(Errc::not_found, "there is no snapshot " + clone + "@" + name);
  return assemble(database_, clone, name, **record);
}

Result<std::vector<Snapshot>> Clones::snapshots(const std::string& clone) const {
  std::vector<Snapshot> found;
  const std::string prefix = clone_key(clone);
  auto read = each_record(database_, prefix, [&](std::string_view key, const NameRecord& record) -> Result<void> {
    if (key.size() == prefix.size()) return {};  // the clone itself
    auto snapshot = assemble(database_, clone, std::string{key.substr(prefix.size())}, record);
    if (!snapshot) return fail(snapshot.error());
    found.push_back(std::move(*snapshot));
    return {};
  });
  if (!read) return fail(read.error());
  return found;
}

Result<void> Clones::put_snapshot_removal(Batch& batch, const std::string& clone, const std::string& name) const {
  const auto record = read_record(database_, clone_key(clone, name));
  if (!record) return fail(record.error());
  if (name.empty() || !*record) return fail(Errc::not_found, "there is no snapshot " + clone + "@" + name);
  batch.erase(kCloneFamily, clone_key(clone, name));
  return {};
}

Result<void> Clones::remove_snapshot(const std::string& clone, const std::string& name) {
  return catalog_.change_clones([&](Batch& batch) { return put_snapshot_removal(batch, clone, name); });
}

Result<Clone> Clones::rollback(const std::string& clone, const std::string& name) {
  const auto added = catalog_.add_layer([&](Batch& batch, LayerId layer, TreeId tree) -> Result<void> {
    auto record = read_record(database_, clone_key(clone));
    if (!record) return fail(record.error());
    if (!*record) return no_such_clone(clone);
    const auto target = read_record(database_, clone_key(clone, name));
    if (!target) return fail(target.error());
    if (name.empty() || !*target) return fail(Errc::not_found, "there is no snapshot " + clone + "@" + name);
    const auto top = layer_of(database_, (*record)->layer);
    if (!top) return fail(top.error());
    // A new tree: node ids of before the rollback must meet nothing. Inode numbers are never given out twice.
    put_layer(batch, layer,
              {.state = LayerRecord::State::writable,
               .tree = tree,
               .manifest = {},
               .parent = (*target)->layer,
               .next_ino = top->next_ino});
    (*record)->layer = layer;
    batch.put(kCloneFamily, clone_key(clone), encode_name(**record));
    return {};
  });
  if (!added) return fail(added.error());
  return find(clone);
}

}  // namespace stellarium::fs
