#pragma once
#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace stellarium::cdn::oci {

/// The SHA-256 of a document or a layer, as "sha256:HEX" (OCI image-spec 1.1, "Digests"). The other algorithm that the
/// specification registers, sha512, is not in use anywhere and not taken.
class Digest {
 public:
  /// Nothing if it is not exactly that, in lower case.
  static std::optional<Digest> parse(std::string_view text);
  static Digest of_bytes(std::string_view sha256);  ///< 32 bytes

  const std::string& hex() const { return hex_; }
  std::string text() const { return "sha256:" + hex_; }
  std::string blob_path() const { return "blobs/sha256/" + hex_; }  ///< in a layout
  auto operator<=>(const Digest&) const = default;

 private:
  explicit Digest(std::string hex) : hex_{std::move(hex)} {}
  std::string hex_;  // 64 digits
};

}  // namespace stellarium::cdn::oci
