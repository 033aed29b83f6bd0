#pragma once
#include <string>
#include <utility>

#include "base/result.h"

namespace stellarium::cli {

/// An empty folder of this user's for one run, below /run/stellarium, or below $XDG_RUNTIME_DIR for others than root:
/// not in /tmp, where what is old and looks empty is removed. It goes with the object, if it is empty then.
class PrivateFolder {
 public:
  /// `kind` begins its name. Errors: io, permission.
  static Result<PrivateFolder> make(const std::string& kind);
  PrivateFolder(PrivateFolder&& other) noexcept : path_{std::exchange(other.path_, {})} {}
  PrivateFolder& operator=(PrivateFolder&&) = delete;
  ~PrivateFolder();

  const std::string& path() const { return path_; }

 private:
  explicit PrivateFolder(std::string path) : path_{std::move(path)} {}
  std::string path_;
};

/// Where they are made. Errors: not_found (no $XDG_RUNTIME_DIR).
Result<std::string> folder_for_runs();

}  // namespace stellarium::cli
