#include "cdn/lazy_image.h"

#include "fs/content_input.h"
#include "fs/layer_object.h"
#include "fs/records.h"

namespace stellarium::cdn {

Result<std::vector<ImageContent>> contents_of_layer(fs::ByteInput& object) {
  fs::LayerObjectReader reader{object};
  std::vector<ImageContent> contents;
  std::unordered_map<cas::ContentId, std::uint64_t, cas::HashOfHash> sizes;
  while (true) {
    const auto entry = reader.next();
    if (!entry) return fail(entry.error(), "layer object");
    if (!*entry) return contents;
    const auto content = (*entry)->first ? fs::content_of((*entry)->inode) : std::nullopt;
    if (!content) continue;
    const auto [before, is_new] = sizes.emplace(content->id, content->size);
    if (before->second != content->size)
      return fail(Errc::corrupt, "layer object: content " + content->id.hex() + " has two sizes");
    if (is_new) contents.push_back({*content, (*entry)->inode.program});
  }
}

Result<std::shared_ptr<const LazyImage>> LazyImage::load(cas::ContentStore& store, const cas::ContentId& layer,
                                                         LazyRecord record) {
  std::shared_ptr<LazyImage> image{new LazyImage{layer, std::move(record)}};
  auto manifest = parse_manifest(image->record_.manifest);
  if (!manifest) return fail(std::move(manifest).error());
  image->manifest_ = *std::move(manifest);
  fs::ContentInput object{store, layer, image->manifest_.layer.size};
  const auto contents = contents_of_layer(object);
  if (!contents) return fail(contents.error());
  std::string index(image->manifest_.index.size, '\0');
  fs::ContentInput input{store, image->manifest_.index.id, index.size()};
  for (std::size_t at = 0; at < index.size();) {
    const auto read = input.read(std::as_writable_bytes(std::span{index}).subspan(at));
    if (!read) return fail(read.error(), "the index of a lazy image");
    at += *read;
  }
  auto parsed = parse_index(as_bytes(index), *contents);
  if (!parsed) return fail(std::move(parsed).error());
  image->parsed_ = *std::move(parsed);
  if (auto indexed = image->index_frames(); !indexed) return fail(std::move(indexed).error());
  return image;
}

Result<void> LazyImage::index_frames() {
  const auto& bundles = parsed_.index.bundles;
  if (bundles.size() != manifest_.bundles.size())
    return fail(Errc::corrupt, "the manifest of a lazy image and its index have other bundles");
  for (std::uint32_t b = 0; b < bundles.size(); ++b) {
    std::uint64_t offset = 0;
    auto& offsets = offsets_.emplace_back();
    for (std::uint32_t f = 0; f < bundles[b].size(); ++f) {
      offsets.push_back(offset);
      offset += bundles[b][f].stored;
      for (const ChunkNumber number : bundles[b][f].chunks)
        places_.emplace(parsed_.order.chunks()[number].id, Place{b, f});
    }
  }
  for (std::size_t at = 0; at < parsed_.index.recipes.size(); ++at)
    recipes_.emplace(parsed_.index.recipes[at].content, at);
  return {};
}

const cas::Recipe* LazyImage::recipe(const cas::ContentId& content) const {
  const auto found = recipes_.find(content);
  return found == recipes_.end() ? nullptr : &parsed_.index.recipes[found->second];
}

std::optional<LazyImage::Place> LazyImage::find(const cas::ChunkId& chunk) const {
  const auto found = places_.find(chunk);
  return found == places_.end() ? std::nullopt : std::optional{found->second};
}

WantedFrame LazyImage::frame(const Place& place) const {
  const ImageIndex::Frame& frame = parsed_.index.bundles[place.bundle][place.frame];
  WantedFrame wanted{offsets_[place.bundle][place.frame], frame.stored, {}};
  for (const ChunkNumber number : frame.chunks) wanted.chunks.push_back(parsed_.order.chunks()[number]);
  return wanted;
}

}  // namespace stellarium::cdn
