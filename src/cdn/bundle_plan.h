#pragma once
#include <span>
#include <vector>

#include "cdn/chunk_order.h"

namespace stellarium::cdn {

/// Chunks that are compressed together, and frames that become one object.
using FramePlan = std::vector<ChunkNumber>;
using BundlePlan = std::vector<FramePlan>;

/// Cuts chunks, in the order in which they will be read, into frames of up to 256 KiB and bundles of up to 15 MiB of
/// uncompressed data.
///
/// Method:  like content-defined chunking, one level up: a frame or bundle that is large enough ends before a chunk
///          whose id says so. So what is inserted into an image changes the frames and bundles around it, and no
///          others.
/// Cost:    a few nanoseconds a chunk.
std::vector<BundlePlan> plan_bundles(const std::vector<ChunkOrder::Chunk>& chunks, std::span<const ChunkNumber> order);

/// The packs of the chunks that belong into packs, in the order of their numbers: up to 64 KiB of uncompressed data,
/// cut the same way.
std::vector<FramePlan> plan_packs(const std::vector<ChunkOrder::Chunk>& chunks);

}  // namespace stellarium::cdn
