#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cdn/oci/documents.h"
#include "cdn/oci/image_files.h"
#include "fs/byte_stream.h"

namespace stellarium::cdn::oci {

/// Which of the images is meant.
struct Selection {
  std::string ref;  ///< a tag or full name; empty: there is only one
  std::optional<Platform> platform;
};

/// One image, found and ready to be sent. Nothing of it is verified here: whoever takes it does that.
class ImageSource {
 public:
  /// Errors: not_found (no such image; a blob is missing), invalid_argument (several, malformed documents).
  static Result<ImageSource> find(const ImageFiles& files, const Selection& selection);

  /// What an index promises of the manifest; nothing: an archive of Docker's, which has none.
  const std::optional<Digest>& manifest_digest() const { return manifest_digest_; }
  std::uint64_t size() const;  ///< bytes that `send` writes

  /// Writes the stream of docs/formats/oci-stream.md.
  [[nodiscard]] Result<void> send(fs::ByteOutput& out) const;

 private:
  ImageSource() = default;
  static Result<ImageSource> find_in_layout(const ImageFiles& files, const Selection& selection);
  static Result<ImageSource> find_in_docker(const ImageFiles& files, const Selection& selection);

  std::optional<Digest> manifest_digest_;
  std::string manifest_, config_;
  std::vector<FilePart> layers_;
};

}  // namespace stellarium::cdn::oci
