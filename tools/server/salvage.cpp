#include "tools/server/salvage.h"

#include "base/log.h"
#include "fs/clones.h"
#include "fs/layer_object_copy.h"
#include "fs/layer_reader.h"
#include "fs/records.h"

namespace stellarium::server {
namespace {

/// Keeps a content in memory.
class MemoryWriter final : public cas::ContentWriter {
 public:
  Result<void> append(ByteSpan data) override {
    bytes += as_text(data);
    return {};
  }
  Result<void> append_zeros(std::uint64_t count) override {
    bytes.append(count, '\0');
    return {};
  }
  Result<cas::ContentId> finish() override { return cas::hash_of(as_bytes(bytes)); }
  std::string bytes;
};

cas::ContentStore::Copy copy_of(std::string_view bytes, bool recipe_page) {
  const ByteSpan span = as_bytes(bytes);
  return {{span.begin(), span.end()}, recipe_page};
}

}  // namespace

Result<void> Salvage::look() {
  auto images = store_.catalog().list();
  if (!images) return fail(images.error());
  images_ = std::move(*images);
  for (const fs::Image& image : images_) {
    note({image.manifest, image.manifest_size}, &image);
    look_at(image.layer, image.name.text());
  }
  const auto written = fs::written_layers(store_.database());
  if (!written) return fail(written.error());
  for (const fs::LayerId layer : *written) look_at(layer, fs::layer_text(layer));
  return {};
}

void Salvage::look_at(fs::LayerId layer, const std::string& name) {
  auto scan = fs::LayerReader{store_.database(), layer}.scan_inodes();
  while (true) {
    const auto found = scan.next();
    if (!found) log::warn("{}: {}", name, to_string(found.error()));
    if (!found || !*found) return;
    if (const auto content = fs::content_of((*found)->second)) note(*content, nullptr);
  }
}

void Salvage::note(const tier::ContentRef& content, const fs::Image* object) {
  if (!seen_.insert(content.id).second) return;
  const auto recipe = store_.contents().recipe(content.id, content.size);
  if (!recipe) return;
  if (content.size > cas::kMaxChunk) {
    for (std::string& page : cas::encode_recipe(*recipe)) {
      const cas::ChunkId id = cas::hash_of(as_bytes(page));
      if (damaged_.contains(id)) pages_.emplace(id, std::move(page));
    }
  }
  std::uint64_t offset = 0;
  for (const cas::Recipe::Entry& entry : recipe->entries) {
    if (damaged_.contains(entry.id)) places_.emplace(entry.id, Place{content, offset, entry.size, object});
    offset += std::uint64_t{entry.size} * entry.repeat;
  }
}

std::optional<cas::ContentStore::Copy> Salvage::find(const cas::ChunkId& chunk) {
  if (const auto page = pages_.find(chunk); page != pages_.end()) return copy_of(page->second, true);
  const auto [first, last] = places_.equal_range(chunk);
  for (auto place = first; place != last; ++place) {
    auto copy = copy_at(place->second);
    if (copy && cas::hash_of(copy->bytes) == chunk) return copy;
  }
  return std::nullopt;
}

std::optional<cas::ContentStore::Copy> Salvage::copy_at(const Place& place) {
  if (place.object != nullptr) {
    const std::string& object = object_of(*place.object);
    if (object.size() != place.content.size) return std::nullopt;
    return copy_of(std::string_view{object}.substr(place.offset, place.size), false);
  }
  cas::ContentStore::Copy copy;
  copy.bytes.resize(place.size);
  const auto read = store_.tier().read(place.content, place.offset, copy.bytes);
  if (!read || *read != place.size) return std::nullopt;
  return copy;
}

const std::string& Salvage::object_of(const fs::Image& image) {
  const auto [object, first] = objects_.try_emplace(image.layer);
  if (first) {
    MemoryWriter writer;
    if (auto written = fs::write_layer_object(store_.database(), image.layer, writer); written) {
      object->second = std::move(writer.bytes);
    } else {
      log::warn("the layer object of {} cannot be written again: {}", image.name.text(), to_string(written.error()));
    }
  }
  return object->second;
}

}  // namespace stellarium::server
