#pragma once
#include <string>
#include <utility>

#include "base/result.h"

namespace stellarium::cdn::oci {

/// Makes a folder of an archive of a layout as `export_image` writes it, read from a pipe: `folder` is new, and there
/// is no such folder before all of it is there. Nothing else than a layout's files is written.
///
/// Errors: exists, invalid_argument (no such archive, cut off), out_of_space, io. Threads: one at a time.
class LayoutFolder {
 public:
  static Result<LayoutFolder> make(const std::string& folder);
  LayoutFolder(LayoutFolder&& other) noexcept
      : folder_{std::move(other.folder_)}, partial_{std::exchange(other.partial_, {})} {}
  LayoutFolder& operator=(LayoutFolder&&) = delete;
  ~LayoutFolder();  ///< without finish() nothing stays

  [[nodiscard]] Result<void> take(int pipe);
  [[nodiscard]] Result<void> finish();

 private:
  LayoutFolder(std::string folder, std::string partial) : folder_{std::move(folder)}, partial_{std::move(partial)} {}
  std::string folder_, partial_;
};

}  // namespace stellarium::cdn::oci
