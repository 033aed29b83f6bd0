#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cas/database.h"
#include "fs/catalog.h"
#include "fs/names_journal.h"
#include "fs/records.h"
#include "fs/types.h"

// The records of families `layer` and `name`, as the catalog and the rebuild of names read and write them.
namespace stellarium::fs {

/// Kept under layer number 0, which no layer has.
struct LayerCounters {
  LayerId next_layer = 1;
  TreeId next_tree = 1;
  NamesJournal::Uuid journal{};  ///< the journal that this database belongs to
};
Result<std::optional<LayerCounters>> read_counters(const cas::Database& database);
void put_counters(cas::Database::Batch& batch, const LayerCounters& counters);

Result<std::optional<LayerRecord>> read_layer(const cas::Database& database, LayerId layer);
void put_layer(cas::Database::Batch& batch, LayerId layer, const LayerRecord& record);
/// Every layer, sealed or not, by number.
Result<std::vector<std::pair<LayerId, LayerRecord>>> read_layers(const cas::Database& database);
/// Removes all records of a layer, its own last, so that a crash on the way leaves it known.
Result<void> erase_layer(cas::Database& database, LayerId layer);

Result<std::optional<Image>> read_image(const cas::Database& database, const ImageName& name);
/// Whether any image has this name, whatever its tag.
Result<bool> has_image(const cas::Database& database, std::string_view name);
Result<std::vector<Image>> read_images(const cas::Database& database);  ///< by name and tag
/// Makes a layer a sealed one, with the fingerprint of its tree (zeros: not known), visible under a name.
void put_image(cas::Database::Batch& batch, const Image& image, const cas::Hash& fingerprint = {});
/// The layer that was last sealed with this fingerprint.
Result<std::optional<LayerId>> find_fingerprint(const cas::Database& database, const cas::Hash& fingerprint);
/// Only the name; the layer stays as it is.
void put_image_name(cas::Database::Batch& batch, const ImageName& name, const Image& image);
void erase_image_name(cas::Database::Batch& batch, const ImageName& name);

}  // namespace stellarium::fs
