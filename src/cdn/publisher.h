#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cas/content_store.h"
#include "cas/worker_pool.h"
#include "cdn/bundle_plan.h"
#include "cdn/image_index.h"
#include "cdn/manifest.h"
#include "cdn/uploader.h"
#include "fs/catalog.h"
#include "fs/layer_reader.h"
#include "tier/frame_cache.h"

namespace stellarium::cdn {

/// The distinct file contents of a tree, in layer order.
[[nodiscard]] Result<std::vector<ImageContent>> contents_of(const fs::LayerReader& reader);

/// Publishes images as static files (docs/formats/cdn.md): bundles, packs and blobs first, then the manifest. A name
/// for it is the caller's (name_record.h).
///
/// Result:  depends on the tree, the level and the zstd version alone: the same image gives the same objects
///          everywhere.
/// Resume:  what the target has is not sent again, so a publish that was stopped goes on where it was.
/// Memory:  one bundle (15 MiB, and compressed once more), the uploader's, 100 bytes a chunk of the image.
/// Threads: one image at a time.
class Publisher {
 public:
  struct Options {
    int level = 9;         ///< of zstd, for everything compressed
    unsigned workers = 2;  ///< that compress
    Uploader::Options upload = {};
  };
  /// Called now and then with bytes of content done and in all; false stops with `cancelled`.
  using Progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;
  struct Report {
    cas::Hash manifest;
    std::uint64_t chunks = 0, bundles = 0, packs = 0;
    std::uint64_t content_bytes = 0, bundle_bytes = 0, metadata_bytes = 0;
    Uploader::Totals uploads;
  };
  /// All are borrowed. `source`: delivers every chunk of the image.
  Publisher(cas::ContentStore& contents, cas::ChunkSource& source, ObjectTarget& target, const Options& options);

  [[nodiscard]] Result<Report> publish(const fs::Image& image, const fs::LayerReader& reader, const Progress& progress);

 private:
  using Chunks = std::vector<ChunkOrder::Chunk>;
  Result<void> add_contents(const fs::LayerReader& reader);
  Result<void> send_bundles(const std::vector<BundlePlan>& plans, const Progress& progress);
  Result<void> send_packs();
  Result<void> send_metadata(const fs::Image& image);
  /// The containers of the frames, in order.
  Result<std::vector<std::string>> encode_frames(const Chunks& chunks, const BundlePlan& plan, cas::FrameKind kind);
  Result<Manifest::Content> layer_content(const fs::Image& image);
  Manifest::Content index_content(const std::string& index);
  Result<std::string> bytes_of(const ChunkOrder::Chunk& chunk);
  Result<void> send(const cas::Hash& id, std::string bytes) { return uploader_.offer(blob_path(id), std::move(bytes)); }

  cas::ContentStore& contents_;
  const Options options_;
  tier::FrameCache frames_;
  Uploader uploader_;
  cas::Compressor compressor_;
  std::unordered_map<cas::ChunkId, std::string, cas::HashOfHash> made_;  // chunks that no store has: the index's
  ChunkOrder order_;
  ImageIndex index_;
  Manifest manifest_;
  Report report_;
  cas::WorkerPool workers_;  // last: its jobs use the members above
};

}  // namespace stellarium::cdn
