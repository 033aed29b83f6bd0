#pragma once
#include "tier/hot_store.h"
#include "tier/tier.h"

namespace stellarium::tier {

/// Hashes every hot file and drops those that are not what their name says.
///
/// Reads what the disk holds where nobody uses the file (its cached pages are given up first), and what readers see
/// where somebody does. A damaged file loses its name, never its bytes under a reader: the release hook is told, who
/// has it open keeps the old inode, and the next fill makes a new one. Errors:  cancelled by `progress` (bytes done,
/// bytes in all).
Result<Tier::ScrubReport> scrub_hot_files(HotStore& hot, const cas::ContentStore::Progress& progress);

}  // namespace stellarium::tier
