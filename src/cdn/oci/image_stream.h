#pragma once
#include <string_view>

// How one image comes to whoever imports it: a tar (archive_writer.h) of the manifest, if there is one, the
// configuration, and the layers' blobs, the lowest first, in this order (docs/formats/oci-stream.md).
namespace stellarium::cdn::oci {

inline constexpr std::string_view kStreamManifest = "manifest";
inline constexpr std::string_view kStreamConfig = "config";
inline constexpr std::string_view kStreamLayer = "layer";

}  // namespace stellarium::cdn::oci
