#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cdn/oci/digest.h"

// The JSON documents of an image (OCI image-spec 1.1; Docker's image manifest version 2 schema 2 and its archive).
// What comes from others is never trusted: numbers are bounded, digests have one form, members that nobody asks for are
// passed over.
namespace stellarium::cdn::oci {

inline constexpr std::uint64_t kMaxDocument = 4u << 20;  ///< bytes; registries have the same bound
inline constexpr std::size_t kMaxLayers = 1024;          ///< overlayfs has 500, Docker 127
inline constexpr std::size_t kMaxIndexEntries = 4096;

/// What a document says of a blob.
struct Descriptor {
  std::string media_type;
  Digest digest;
  std::uint64_t size = 0;
};

struct Platform {
  std::string os, architecture, variant;  ///< empty: not told
  /// "os/architecture[/variant]". Errors: invalid_argument.
  static Result<Platform> parse(std::string_view text);
  static Platform here();
  std::string text() const;
  /// Whether an image for `offered` is what `this` asks for; a variant counts only if both tell one.
  bool takes(const Platform& offered) const;
};

struct IndexEntry {
  Descriptor what;
  std::optional<Platform> platform;
  std::string ref;        ///< annotation org.opencontainers.image.ref.name; empty: none
  bool is_index = false;  ///< it leads to another index, not to a manifest
};
/// Entries of other kinds are left out.
[[nodiscard]] Result<std::vector<IndexEntry>> parse_index(std::string_view text);

struct ImageManifest {
  Descriptor config;
  std::vector<Descriptor> layers;  ///< the lowest first
};
/// Errors: invalid_argument, also for what is no image (other artifacts), for layers that lie elsewhere and encrypted
/// ones.
[[nodiscard]] Result<ImageManifest> parse_manifest(std::string_view text);
/// The manifest that an archive of Docker's lacks.
std::string make_manifest(const ImageManifest& manifest);

struct ImageConfig {
  Platform platform;
  std::vector<Digest> diff_ids;  ///< of the layers' tars, the lowest first
};
[[nodiscard]] Result<ImageConfig> parse_config(std::string_view text);

/// One image of an archive of Docker's.
struct DockerImage {
  std::string config;  ///< path of a member
  std::vector<std::string> tags, layers;
};
[[nodiscard]] Result<std::vector<DockerImage>> parse_docker_manifest(std::string_view text);

/// Whether the file oci-layout says a version that is known.
[[nodiscard]] Result<void> check_layout_version(std::string_view text);

}  // namespace stellarium::cdn::oci
