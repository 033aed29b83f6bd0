#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "tools/cli/interrupts.h"

namespace stellarium::cli {

/// An image of a registry, fetched by skopeo into a folder of its own, which goes with this object. What comes is
/// verified when it is imported; who may fetch it, and how, skopeo's own files say.
class RegistryImage {
 public:
  static bool is_one(std::string_view source) { return source.starts_with("docker://"); }
  /// `platform` is empty or OS/ARCHITECTURE[/VARIANT]. Errors: not_found (skopeo), unavailable (it failed and has said
  /// why), cancelled (one of `interrupts` came, which stays to be taken), invalid_argument, io.
  static Result<RegistryImage> fetch(const std::string& source, const std::string& platform,
                                     const Interrupts& interrupts);
  RegistryImage(RegistryImage&& other) noexcept : folder_{std::exchange(other.folder_, {})} {}
  RegistryImage& operator=(RegistryImage&&) = delete;
  ~RegistryImage();

  std::string layout() const { return folder_ + "/image"; }  ///< the folder of an OCI image layout

 private:
  explicit RegistryImage(std::string folder) : folder_{std::move(folder)} {}
  std::string folder_;
};

}  // namespace stellarium::cli
