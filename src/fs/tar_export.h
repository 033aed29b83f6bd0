#pragma once
#include <cstdint>
#include <functional>

#include "base/result.h"
#include "fs/byte_stream.h"
#include "fs/layer_reader.h"
#include "tier/tier.h"

namespace stellarium::fs {

/// Writes a layer as an uncompressed pax archive in directory order: hard links, devices, sparse files, xattrs, ACLs
/// (SCHILY.acl.*, SCHILY.xattr.*), nanosecond times, any bytes in names. `progress` gets content bytes done; returning
/// false cancels.
Result<void> export_tar(const LayerReader& layer, tier::Tier& tier, ByteOutput& out,
                        const std::function<bool(std::uint64_t)>& progress);

}  // namespace stellarium::fs
