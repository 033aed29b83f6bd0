#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::cdn::oci {

/// A part of a file.
struct FilePart {
  UniqueFd file;
  std::uint64_t offset = 0, size = 0;
};

/// The files of a layout, or of an archive of Docker's, wherever they lie.
///
/// Names come from others: none leads out of the folder, none through a symlink.
/// Threads: all functions may be called concurrently.
class ImageFiles {
 public:
  enum class Form {
    layout,  ///< the folder or archive of OCI image-spec 1.1, "Image Layout"
    docker,  ///< what `docker save` writes
  };
  /// A folder or an archive of one of the forms; nothing if it is something else.
  /// Errors: not_supported (another version of the layout), invalid_argument (cut off), io.
  static Result<std::unique_ptr<ImageFiles>> open(UniqueFd file);
  virtual ~ImageFiles() = default;

  virtual Form form() const = 0;
  /// Errors: not_found.
  [[nodiscard]] virtual Result<FilePart> part(const std::string& name) const = 0;
  /// All of a small one. Errors: invalid_argument (over kMaxDocument).
  [[nodiscard]] Result<std::string> document(const std::string& name) const;
};

}  // namespace stellarium::cdn::oci
