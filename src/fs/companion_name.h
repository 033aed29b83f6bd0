#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "fs/catalog.h"
#include "fs/image_name.h"

// What an image came as beside its tree (of OCI: manifest, configuration, layers) is a tree of its own, its companion:
// it is kept, collected, checked and repaired as every image is, and listed with none. Its name is that of the image
// with something behind the tag; which of several is meant, the image's source says, which ends with a digest.
namespace stellarium::fs {

/// "WHERE@sha256:HEX": the source of an image that has a companion. A long WHERE is cut, so that all of it fits into
/// the journal of names.
std::string source_with_digest(std::string_view where, std::string_view sha256_hex);

/// The name of the companion of an image with that source, or nothing if such an image has none.
/// Errors: invalid_argument (the tag is too long to have something behind it).
Result<std::optional<ImageName>> companion_name(const ImageName& name, std::string_view source);

bool is_companion(const ImageName& name);

}  // namespace stellarium::fs
