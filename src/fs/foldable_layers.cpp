#include "fs/foldable_layers.h"

#include "fs/layer_store.h"

namespace stellarium::fs {
namespace {

/// The layer below one that is frozen and has no name and one layer on it; 0 if it is none.
Result<LayerId> below_thin_layer(const cas::Database& database, const LayerUses& uses, LayerId layer) {
  if (!uses.only_child(layer)) return LayerId{0};
  const auto record = read_layer(database, layer);
  if (!record) return fail(record.error());
  return *record && (*record)->state == LayerRecord::State::frozen ? (*record)->parent : LayerId{0};
}

Result<std::optional<Catalog::Fold>> fold_of(const cas::Database& database, const LayerUses& uses, LayerId upper) {
  const auto lower = below_thin_layer(database, uses, upper);
  if (!lower) return fail(lower.error());
  if (*lower == 0) return std::optional<Catalog::Fold>{};
  const auto below = below_thin_layer(database, uses, *lower);
  if (!below) return fail(below.error());
  if (*below == 0) return std::optional<Catalog::Fold>{};
  return std::optional{Catalog::Fold{.upper = upper, .lower = *lower, .above = *uses.only_child(upper)}};
}

}  // namespace

Result<void> FoldableLayers::note(const cas::Database& database, LayerUses& uses) {
  for (const LayerId layer : uses.take_thinned()) {
    const auto above = uses.only_child(layer);
    if (!above) continue;
    for (const LayerId upper : {layer, *above}) {
      const auto fold = fold_of(database, uses, upper);
      if (!fold) return fail(fold.error());
      if (*fold) uppers_.insert(upper);
    }
  }
  return {};
}

Result<std::optional<Catalog::Fold>> FoldableLayers::check(const cas::Database& database, const LayerUses& uses,
                                                           LayerId upper) {
  auto fold = fold_of(database, uses, upper);
  if (!fold) return fail(fold.error());
  if (!*fold) uppers_.erase(upper);
  return fold;
}

}  // namespace stellarium::fs
