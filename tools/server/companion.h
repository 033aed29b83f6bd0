#pragma once
#include <optional>
#include <vector>

#include "base/result.h"
#include "fs/catalog.h"
#include "tools/server/image.h"
#include "tools/server/store.h"

// The trees beside images (fs/companion_name.h).
namespace stellarium::server {

/// The companion of an image; nothing if it came as files only.
Result<std::optional<OpenImage>> open_companion(Store& store, const fs::Image& image);

/// The companions of these images, for those who remove them.
Result<std::vector<fs::ImageName>> companions_of(Store& store, const std::vector<fs::ImageName>& images);

/// Renames an image and its companion.
Result<void> rename_with_companion(Store& store, const fs::ImageName& from, const fs::ImageName& to);

/// Removes the names of companions whose images are gone, or have become others: what an import that was killed left,
/// too. Those of the last hour stay, for an import may be about to name their image. Returns how many there were.
Result<std::size_t> forget_lost_companions(Store& store);

}  // namespace stellarium::server
