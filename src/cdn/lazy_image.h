#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "cas/content_store.h"
#include "cdn/frame_fetcher.h"
#include "cdn/image_index.h"
#include "cdn/lazy_record.h"
#include "cdn/manifest.h"
#include "fs/byte_stream.h"

namespace stellarium::cdn {

/// The distinct file contents that a layer object names, in layer order. Errors: corrupt.
[[nodiscard]] Result<std::vector<ImageContent>> contents_of_layer(fs::ByteInput& object);

/// Where the chunks of an image are at its remote.
///
/// Memory:  about 200 bytes a chunk. Threads: read-only once it is loaded.
class LazyImage {
 public:
  /// From the layer object and the index, which are in the store. Errors: those of reading them.
  static Result<std::shared_ptr<const LazyImage>> load(cas::ContentStore& store, const cas::ContentId& layer,
                                                       LazyRecord record);

  const cas::ContentId& layer() const { return layer_; }
  const std::string& remote() const { return record_.remote; }
  bool completes() const { return record_.completes; }
  const Manifest& manifest() const { return manifest_; }
  const ParsedIndex& parsed() const { return parsed_; }
  /// Of a content of several chunks; null if the image has none such.
  const cas::Recipe* recipe(const cas::ContentId& content) const;

  struct Place {
    std::uint32_t bundle = 0, frame = 0;
    auto operator<=>(const Place&) const = default;
  };
  std::optional<Place> find(const cas::ChunkId& chunk) const;
  WantedFrame frame(const Place& place) const;
  std::string path(const Place& place) const { return blob_path(manifest_.bundles[place.bundle].id); }

 private:
  LazyImage(const cas::ContentId& layer, LazyRecord record) : layer_{layer}, record_{std::move(record)} {}
  Result<void> index_frames();

  cas::ContentId layer_;
  LazyRecord record_;
  Manifest manifest_;
  ParsedIndex parsed_;
  std::unordered_map<cas::ContentId, std::size_t, cas::HashOfHash> recipes_;  // in parsed_.index.recipes
  std::unordered_map<cas::ChunkId, Place, cas::HashOfHash> places_;
  std::vector<std::vector<std::uint64_t>> offsets_;  // of frames, by bundle
};

}  // namespace stellarium::cdn
