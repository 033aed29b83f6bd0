#pragma once
#include <filesystem>
#include <functional>
#include <string>

#include "base/result.h"
#include "cas/content_store.h"
#include "cdn/oci/kept_image.h"
#include "fs/byte_stream.h"

namespace stellarium::cdn::oci {

struct ExportRequest {
  std::string ref;                  ///< what the layout's index calls the image
  std::filesystem::path scratch;    ///< for blobs whose size nobody knows before they are made
  const KeptImage* kept = nullptr;  ///< what the image came as; null: it did not come as OCI
  /// The tar of the image's files, for one that has no layers of its own.
  std::function<Result<void>(fs::ByteOutput&)> tar;
  std::function<bool(std::uint64_t done)> progress;  ///< bytes written; false: cancels
};

/// Writes an archive of an OCI image layout with one image: oci-layout, index.json, and the blobs.
///
/// An image that was kept exactly has the manifest that it came with, byte for byte; one that was kept as recipes has
/// the same configuration and tars, compressed with gzip; any other has one layer.
/// Verified: every blob and tar against what manifest and configuration say of it.
/// Errors:   corrupt, out_of_space (the scratch file), cancelled, those of the output. Memory: a few MiB.
[[nodiscard]] Result<void> export_image(const ExportRequest& request, fs::ByteOutput& out);

}  // namespace stellarium::cdn::oci
