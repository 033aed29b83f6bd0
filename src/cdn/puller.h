#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "cdn/fetch_all.h"
#include "cdn/frame_fetcher.h"
#include "cdn/image_index.h"
#include "cdn/manifest.h"
#include "cdn/objects.h"
#include "fs/catalog.h"

namespace stellarium::cdn {

/// Brings a published image into a store: manifest, metadata, then every chunk that the store lacks.
///
/// Trust:   the manifest's id alone: everything else is named by its hash, and compared with it before it enters the
///          store. Who says that the id is the right one is the caller's (name_record.h).
/// Result:  the image under its name, or nothing but garbage that gc removes. One that was stopped goes on where it
///          was: chunks that came are known.
/// Memory:  the fetcher's and the checker's, the layer object and the index of the image.
/// Threads: one image at a time.
class Puller {
 public:
  struct Parts {
    cas::Database& database;
    cas::ContentStore& contents;
    fs::Catalog& catalog;
    std::filesystem::path scratch;
  };
  struct Report {
    fs::Image image;
    std::uint64_t manifest_bytes = 0, metadata_bytes = 0, content_bytes = 0;  ///< fetched
    std::uint64_t requests = 0;
    cas::WriteSession::Totals totals;
  };
  /// With `lazy`, only the metadata is fetched; it is called before the image is named, with its layer object's id and
  /// the manifest's text, and keeps account of where the contents are (lazy_contents.h).
  using KeepLazy = std::function<Result<void>(const cas::ContentId& layer, const std::string& manifest)>;
  Puller(const Parts& parts, ObjectReader& reader, const FrameFetcher::Options& options, KeepLazy lazy = {});

  /// Errors: corrupt (the remote has something else under that name than it should), not_found, unavailable, cancelled,
  /// and the store's.
  [[nodiscard]] Result<Report> pull(const cas::Hash& manifest, const fs::ImageName& name, const std::string& source,
                                    const FetchProgress& progress);

 private:
  Result<Manifest> fetch_manifest(const cas::Hash& id);
  /// The two contents of the metadata, from what the store has of them and what is fetched.
  struct Metadata {
    std::string layer, index;
  };
  Result<Metadata> fetch_metadata(const Manifest& manifest, cas::WriteSession& session);
  Result<void> store_layer(const Manifest& manifest, const Metadata& metadata, fs::LayerId layer,
                           cas::WriteSession& session, const FetchProgress& progress);
  Result<void> publish(const fs::ImageName& name, const std::string& source);
  /// Whether the store has this tree under some name: then the image is that layer once more.
  Result<std::shared_ptr<fs::Catalog::LayerPin>> find_layer(const Manifest& manifest);

  const Parts parts_;
  ObjectReader& reader_;
  FrameFetcher fetcher_;
  const KeepLazy lazy_;
  std::string manifest_text_;
  Report report_;
};

}  // namespace stellarium::cdn
