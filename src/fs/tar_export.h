#pragma once
#include <cstdint>
#include <functional>

#include "base/result.h"
#include "fs/byte_stream.h"
#include "fs/layer_reader.h"
#include "fs/staging.h"
#include "tier/tier.h"

namespace stellarium::fs {

/// Where an export gets the bytes of files, and whether it needs them.
struct ExportSources {
  tier::Tier& tier;
  Staging* staging = nullptr;  ///< for trees that were written
  bool by_reference = false;   ///< contents of the store are only named, for an import into the same store
};

/// Writes a tree as an uncompressed pax archive in directory order: hard links, devices, sparse files, xattrs, ACLs
/// (SCHILY.acl.*, SCHILY.xattr.*), nanosecond times, any bytes in names. `progress` gets content bytes done; returning
/// false cancels.
Result<void> export_tar(const LayerReader& layer, const ExportSources& sources, ByteOutput& out,
                        const std::function<bool(std::uint64_t)>& progress);

}  // namespace stellarium::fs
