#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "cdn/oci/digest.h"
#include "cdn/oci/kept_image.h"
#include "fs/byte_stream.h"
#include "fs/catalog.h"
#include "fs/tar_import.h"

namespace stellarium::cdn::oci {

struct ImportRequest {
  fs::ImageName name;
  std::string source;              ///< where it comes from, for people
  std::optional<Digest> manifest;  ///< what the stream's first member must be; without it there is none in the stream
  Keep keep = Keep::exact;
};

struct ImportedImage {
  fs::ImportReport tree;  ///< totals of the companion included
  Digest manifest;        ///< as the image has it, or as it was made for one that came without
  std::size_t layers = 0;
};

/// Reads one image (docs/formats/oci-image.md), merges its layers into one sealed layer and publishes that as
/// `request.name`; its companion keeps the rest.
///
/// Verified: manifest, configuration and every blob against their digests and sizes, every tar against its diff_id.
/// Errors:   invalid_argument, naming the layer and the member; cancelled; those of the store. Nothing of a refused
///           image stays visible.
/// Memory:   that of MergedTree and of an import of one tar.
[[nodiscard]] Result<ImportedImage> import_image(cas::Database& database, cas::ContentStore& contents,
                                                 fs::Catalog& catalog, const std::filesystem::path& scratch,
                                                 fs::ByteInput& stream, const ImportRequest& request,
                                                 fs::ImportObserver& observer);

}  // namespace stellarium::cdn::oci
