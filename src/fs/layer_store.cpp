#include "fs/layer_store.h"

#include <algorithm>

#include "fs/families.h"

namespace stellarium::fs {
namespace {

Result<Image> assemble(const cas::Database& database, const ImageName& name, std::string_view value) {
  const Result<NameRecord> record = decode_name(value);
  if (!record) return fail(record.error(), name.text());
  const Result<std::optional<LayerRecord>> layer = read_layer(database, record->layer);
  if (!layer) return fail(layer.error(), name.text());
  if (!*layer || (*layer)->state != LayerRecord::State::sealed) {
    return fail(Errc::corrupt, name.text() + ": its " + layer_text(record->layer) + " is missing");
  }
  Image image;
  image.name = name;
  image.layer = record->layer;
  image.tree = record->tree != 0 ? record->tree : (*layer)->tree;
  image.manifest = (*layer)->manifest;
  image.manifest_size = (*layer)->manifest_size;
  image.files = (*layer)->files;
  image.bytes = (*layer)->bytes;
  image.created = record->created;
  image.source = record->source;
  return image;
}

}  // namespace

Result<std::optional<LayerCounters>> read_counters(const cas::Database& database) {
  const Result<std::optional<std::string>> value = database.get(kLayerFamily, layer_prefix(0));
  if (!value) return fail(value.error());
  if (!*value) return std::nullopt;
  ByteReader reader{as_bytes(**value)};
  LayerCounters counters;
  counters.next_layer = reader.le<std::uint32_t>();
  counters.next_tree = reader.le<std::uint32_t>();
  const ByteSpan uuid = reader.take(counters.journal.size());
  if (!reader.at_end() || counters.next_layer == 0 || counters.next_tree == 0)
    return fail(Errc::corrupt, "the layer counters are malformed");
  std::ranges::copy(uuid, counters.journal.begin());
  return counters;
}

void put_counters(cas::Database::Batch& batch, const LayerCounters& counters) {
  std::string value;
  put_le<std::uint32_t>(value, counters.next_layer);
  put_le<std::uint32_t>(value, counters.next_tree);
  put_bytes(value, counters.journal);
  batch.put(kLayerFamily, layer_prefix(0), value);
}

Result<std::optional<LayerRecord>> read_layer(const cas::Database& database, LayerId layer) {
  const Result<std::optional<std::string>> value = database.get(kLayerFamily, layer_prefix(layer));
  if (!value) return fail(value.error());
  if (!*value) return std::nullopt;
  const Result<LayerRecord> record = decode_layer(**value);
  if (!record) return fail(record.error(), layer_text(layer));
  return *record;
}

void put_layer(cas::Database::Batch& batch, LayerId layer, const LayerRecord& record) {
  batch.put(kLayerFamily, layer_prefix(layer), encode_layer(record));
}

Result<std::vector<std::pair<LayerId, LayerRecord>>> read_layers(const cas::Database& database) {
  std::vector<std::pair<LayerId, LayerRecord>> layers;
  const auto cursor = database.scan(kLayerFamily, layer_prefix(1), {});
  for (; cursor->valid(); cursor->next()) {
    ByteReader key{as_bytes(cursor->key())};
    const auto layer = key.be<std::uint32_t>();
    if (!key.at_end()) return fail(Errc::corrupt, "layer key is malformed");
    const Result<LayerRecord> record = decode_layer(cursor->value());
    if (!record) return fail(record.error(), layer_text(layer));
    layers.emplace_back(layer, *record);
  }
  if (Result<void> status = cursor->status(); !status) return fail(status.error(), "listing layers");
  return layers;
}

Result<void> erase_layer(cas::Database& database, LayerId layer) {
  const std::string first = layer_prefix(layer);
  const std::string end = prefix_end(first);
  for (const cas::Family* family : {&kDirentFamily, &kInodeFamily, &kXattrFamily}) {
    if (Result<void> erased = database.erase_range(*family, first, end); !erased)
      return fail(erased.error(), "removing " + layer_text(layer));
  }
  cas::Database::Batch batch;
  batch.erase(kLayerFamily, first);
  return database.write(std::move(batch), cas::Database::Sync::no);
}

Result<std::optional<Image>> read_image(const cas::Database& database, const ImageName& name) {
  const Result<std::optional<std::string>> value = database.get(kNameFamily, name_key(name.name, name.tag));
  if (!value) return fail(value.error());
  if (!*value) return std::nullopt;
  Result<Image> image = assemble(database, name, **value);
  if (!image) return fail(image.error());
  return std::move(*image);
}

Result<bool> has_image(const cas::Database& database, std::string_view name) {
  const std::string prefix = name_key(name, {});
  const auto cursor = database.scan(kNameFamily, prefix, prefix_end(prefix));
  if (cursor->valid()) return true;
  if (Result<void> status = cursor->status(); !status) return fail(status.error(), "looking for a name");
  return false;
}

Result<std::vector<Image>> read_images(const cas::Database& database) {
  std::vector<Image> images;
  const auto cursor = database.scan(kNameFamily, {}, {});
  for (; cursor->valid(); cursor->next()) {
    const std::string_view key = cursor->key();
    const std::size_t end = key.find('\0');
    if (end == std::string_view::npos) return fail(Errc::corrupt, "name key is malformed");
    Result<Image> image =
        assemble(database, {std::string{key.substr(0, end)}, std::string{key.substr(end + 1)}}, cursor->value());
    if (!image) return fail(image.error());
    images.push_back(std::move(*image));
  }
  if (Result<void> status = cursor->status(); !status) return fail(status.error(), "listing names");
  return images;
}

void put_image(cas::Database::Batch& batch, const Image& image, const cas::Hash& fingerprint) {
  put_layer(batch, image.layer,
            {.state = LayerRecord::State::sealed,
             .tree = image.tree,
             .manifest = image.manifest,
             .manifest_size = image.manifest_size,
             .files = image.files,
             .bytes = image.bytes,
             .fingerprint = fingerprint});
  if (fingerprint != cas::Hash{}) batch.put(kFingerprintFamily, fingerprint.text(), encode_layer_number(image.layer));
  put_image_name(batch, image.name, image);
}

Result<std::optional<LayerId>> find_fingerprint(const cas::Database& database, const cas::Hash& fingerprint) {
  const Result<std::optional<std::string>> value = database.get(kFingerprintFamily, fingerprint.text());
  if (!value) return fail(value.error());
  if (!*value) return std::nullopt;
  const Result<LayerId> layer = decode_layer_number(**value);
  if (!layer) return fail(layer.error());
  return *layer;
}

void put_image_name(cas::Database::Batch& batch, const ImageName& name, const Image& image) {
  batch.put(kNameFamily, name_key(name.name, name.tag),
            encode_name({image.layer, image.created, image.source, image.tree}));
}

void erase_image_name(cas::Database::Batch& batch, const ImageName& name) {
  batch.erase(kNameFamily, name_key(name.name, name.tag));
}

}  // namespace stellarium::fs
