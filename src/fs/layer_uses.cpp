#include "fs/layer_uses.h"

#include <map>
#include <string_view>

#include "fs/clones.h"
#include "fs/families.h"
#include "fs/layer_store.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

using UseKind = LayerUses::Change::Kind;

bool lies_on_another(const LayerRecord& record) {
  return record.state == LayerRecord::State::writable || record.state == LayerRecord::State::frozen;
}

/// The changes between two values of one key, either of which may be absent.
class Difference {
 public:
  explicit Difference(std::vector<LayerUses::Change>& out) : out_{out} {}

  Result<void> layer(std::string_view key, const std::optional<std::string>& before,
                     const std::optional<std::string>& after) {
    ByteReader reader{as_bytes(key)};
    const auto layer = reader.be<std::uint32_t>();
    if (layer == 0) return {};  // the counters
    const auto old_record = decoded(before), new_record = decoded(after);
    if (!old_record) return fail(old_record.error(), layer_text(layer));
    if (!new_record) return fail(new_record.error(), layer_text(layer));
    if (!*old_record && *new_record) out_.push_back({.kind = UseKind::made, .layer = layer});
    const LayerId old_parent = parent_of(*old_record), new_parent = parent_of(*new_record);
    if (old_parent != new_parent) {
      if (new_parent != 0) out_.push_back({.kind = UseKind::covered, .layer = new_parent, .child = layer});
      if (old_parent != 0) out_.push_back({.kind = UseKind::uncovered, .layer = old_parent, .child = layer});
    }
    if (*old_record && !*new_record) out_.push_back({.kind = UseKind::erased, .layer = layer});
    return {};
  }
  Result<void> name(const std::optional<std::string>& before, const std::optional<std::string>& after) {
    for (const auto& [value, kind] : {std::pair{&after, UseKind::named}, std::pair{&before, UseKind::unnamed}}) {
      if (!*value) continue;
      const auto record = decode_name(**value);
      if (!record) return fail(record.error(), "a name");
      out_.push_back({.kind = kind, .layer = record->layer});
    }
    return {};
  }

 private:
  static Result<std::optional<LayerRecord>> decoded(const std::optional<std::string>& value) {
    if (!value) return std::optional<LayerRecord>{};
    auto record = decode_layer(*value);
    if (!record) return fail(record.error());
    return std::optional{*record};
  }
  static LayerId parent_of(const std::optional<LayerRecord>& record) {
    return record && lies_on_another(*record) ? record->parent : 0;
  }

  std::vector<LayerUses::Change>& out_;
};

}  // namespace

Result<LayerUses> LayerUses::count(const cas::Database& database) {
  std::vector<Change> changes;
  const auto layers = read_layers(database);
  if (!layers) return fail(layers.error());
  for (const auto& [layer, record] : *layers) changes.push_back({.kind = Change::Kind::made, .layer = layer});
  for (const auto& [layer, record] : *layers)
    if (lies_on_another(record))
      changes.push_back({.kind = Change::Kind::covered, .layer = record.parent, .child = layer});
  for (const cas::Family* family : {&kNameFamily, &kCloneFamily}) {
    const auto cursor = database.scan(*family, {}, {});
    for (; cursor->valid(); cursor->next()) {
      const auto record = decode_name(cursor->value());
      if (!record) return fail(record.error(), std::string{"family "} + family->name);
      changes.push_back({.kind = Change::Kind::named, .layer = record->layer});
    }
    if (auto walked = cursor->status(); !walked) return fail(walked.error());
  }
  LayerUses uses;
  uses.apply(changes);
  return uses;
}

Result<std::vector<LayerUses::Change>> LayerUses::changes_of(const cas::Database& database,
                                                             const cas::Database::Batch& batch) {
  // A batch may change a record twice: what counts is the last time.
  std::map<std::pair<const cas::Family*, std::string_view>, const cas::Database::Batch::Change*> last;
  for (const auto& change : batch.changes()) {
    if (change.family == &kLayerFamily || change.family == &kNameFamily || change.family == &kCloneFamily)
      last[{change.family, change.key}] = &change;
  }
  std::vector<Change> changes;
  Difference difference{changes};
  for (const auto& [place, change] : last) {
    const auto before = database.get(*change->family, change->key);
    if (!before) return fail(before.error());
    const std::optional<std::string> after = change->erased ? std::nullopt : std::optional{change->value};
    auto told = change->family == &kLayerFamily ? difference.layer(change->key, *before, after)
                                                : difference.name(*before, after);
    if (!told) return fail(told.error());
  }
  return changes;
}

void LayerUses::apply(const std::vector<Change>& changes) {
  // New layers first: what else is said of them is said of what they are then; and those that go, last.
  for (const Change& change : changes)
    if (change.kind == Change::Kind::made) set(change.layer, {});
  for (const Change& change : changes) {
    Uses uses = of(change.layer);
    switch (change.kind) {
      case Change::Kind::made:
      case Change::Kind::erased:
        continue;
      case Change::Kind::named:
        ++uses.names;
        break;
      case Change::Kind::unnamed:
        --uses.names;
        break;
      case Change::Kind::covered:
        ++uses.children;
        uses.child ^= change.child;
        break;
      case Change::Kind::uncovered:
        --uses.children;
        uses.child ^= change.child;
        break;
    }
    set(change.layer, uses);
  }
  for (const Change& change : changes) {
    if (change.kind != Change::Kind::erased) continue;
    others_.erase(change.layer);
    unused_.erase(change.layer);
  }
}

std::optional<LayerId> LayerUses::only_child(LayerId layer) const {
  const Uses uses = of(layer);
  if (uses.names != 0 || uses.children != 1) return std::nullopt;
  return uses.child;
}

LayerUses::Uses LayerUses::of(LayerId layer) const {
  const auto known = others_.find(layer);
  return known == others_.end() ? kClones : known->second;
}

void LayerUses::set(LayerId layer, const Uses& uses) {
  if (uses == kClones) {
    others_.erase(layer);
  } else {
    others_.insert_or_assign(layer, uses);
  }
  if (uses.names == 0 && uses.children == 0) {
    unused_.insert(layer);
  } else {
    unused_.erase(layer);
  }
  if (uses.names == 0 && uses.children == 1) thinned_.push_back(layer);
}

Result<std::set<LayerId>> named_layers(const cas::Database& database) {
  const Result<std::vector<Image>> images = read_images(database);
  if (!images) return fail(images.error());
  std::set<LayerId> layers;
  for (const Image& image : *images) layers.insert(image.layer);
  const Result<std::vector<LayerId>> clones = clone_layers(database);
  if (!clones) return fail(clones.error());
  for (const LayerId top : *clones) {
    const Result<std::vector<LayerId>> chain = layer_chain(database, top);
    if (!chain) return fail(chain.error());
    layers.insert(chain->begin(), chain->end());
  }
  return layers;
}

}  // namespace stellarium::fs
