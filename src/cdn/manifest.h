#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cas/hash.h"

namespace stellarium::cdn {

/// Where an object of a published image lies.
std::string manifest_path(const cas::Hash& id);
std::string blob_path(const cas::Hash& id);
std::string name_path(std::string_view name);

/// One published image: `manifests/{id}.json`, named by the BLAKE3 of its own bytes (docs/formats/cdn.md).
struct Manifest {
  struct Part {  ///< of a content: one chunk
    cas::ChunkId id;
    std::uint32_t size = 0;
    bool operator==(const Part&) const = default;
  };
  struct Content {
    cas::ContentId id;
    std::uint64_t size = 0;
    std::vector<Part> chunks;  ///< in order; together `size` bytes
    bool operator==(const Content&) const = default;
  };
  struct Object {
    cas::Hash id;
    std::uint64_t size = 0;  ///< bytes, as stored
    bool operator==(const Object&) const = default;
  };
  struct Frame {
    std::uint32_t stored = 0;  ///< bytes of its container
    std::uint32_t chunks = 0;  ///< how many of the metadata's chunks, in order, each once
    bool operator==(const Frame&) const = default;
  };
  Content layer, index;                 ///< the layer object, and the index of chunks (image_index.h)
  Object metadata;                      ///< the bundle that has the chunks of these two
  std::vector<Frame> metadata_frames;   ///< back to back
  std::vector<Object> bundles;          ///< of what the files contain
  std::uint64_t inodes = 0, bytes = 0;  ///< of the tree, for people; nobody relies on them

  bool operator==(const Manifest&) const = default;
  /// The distinct chunks of layer object and index, in the order in which the metadata bundle has them.
  std::vector<Part> metadata_chunks() const;
};

/// The most that a reader takes for a manifest, and for the metadata it names.
inline constexpr std::uint64_t kMaxManifest = 64u << 20, kMaxMetadata = 512u << 20;

/// Canonical: equal manifests are equal bytes.
std::string encode_manifest(const Manifest& manifest);
/// Takes untrusted bytes. Errors: corrupt (what is wrong), version.
[[nodiscard]] Result<Manifest> parse_manifest(std::string_view text);

}  // namespace stellarium::cdn
