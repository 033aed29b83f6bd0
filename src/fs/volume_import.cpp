// Volumes that come into the store: as a disk's bytes, or as a manifest of blocks that it has.
#include <algorithm>
#include <utility>

#include "fs/disk_stream.h"
#include "fs/families.h"
#include "fs/volumes.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kCommit = 4096;       // blocks of an import between two commits of its session: 256 MiB
constexpr std::size_t kAdoptedBatch = 512;  // extents of a manifest between two words of progress

/// The extents of a map that is being built. The contents must be durable before they are written: an extent must
/// never name one that a crash can take away.
class ExtentBatch {
 public:
  ExtentBatch(cas::Database& database, MapId map) : database_{database}, map_{map} {}
  void put(std::uint64_t offset, const cas::ChunkId& id, std::uint64_t length) {
    batch_.put(kExtentFamily, extent_key(map_, offset / kVolumeBlock),
               encode_extent({id, static_cast<std::uint32_t>(length)}));
    ++count_;
  }
  std::size_t count() const { return count_; }
  /// Needs no sync: the log is one, and the batch that names the map is synced.
  Result<void> write() {
    count_ = 0;
    return database_.write(std::exchange(batch_, {}), cas::Database::Sync::no);
  }

 private:
  cas::Database& database_;
  const MapId map_;
  cas::Database::Batch batch_;
  std::size_t count_ = 0;
};

}  // namespace

Result<void> Volumes::store_blocks(MapId map, ByteInput& input, cas::WriteSession& session, Imported& imported,
                                   const Volume::Progress& progress) {
  auto disk = DiskStreamReader::begin(input);
  if (!disk) return fail(disk.error());
  imported.size = disk->size();
  ExtentBatch extents{parts_.database, map};
  for (;;) {
    const auto run = disk->next();
    if (!run) return fail(run.error());
    if (!*run) break;
    for (std::size_t at = 0; at < (*run)->bytes.size(); at += kVolumeBlock) {
      const ByteSpan bytes = (*run)->bytes.subspan(at, std::min<std::size_t>(kVolumeBlock, (*run)->bytes.size() - at));
      if (all_zero(bytes)) continue;
      const auto writer = session.begin(cas::Placement::program);
      if (auto stored = writer->append(bytes); !stored) return fail(stored.error());
      const auto id = writer->finish();
      if (!id) return fail(id.error());
      extents.put((*run)->offset + at, *id, bytes.size());
      imported.mapped += bytes.size();
    }
    if (progress && !progress((*run)->offset + (*run)->bytes.size(), imported.size))
      return fail(Errc::cancelled, "cancelled");
    if (extents.count() < kCommit) continue;
    if (auto durable = session.commit(); !durable) return durable;
    if (auto written = extents.write(); !written) return written;
  }
  if (auto durable = session.commit(); !durable) return durable;
  return extents.write();
}

Result<Volumes::Imported> Volumes::import(const std::string& name, ByteInput& input, std::string origin,
                                          const Volume::Progress& progress) {
  return build(name, std::move(origin), [&](MapId map, cas::WriteSession& session, Imported& imported) {
    return store_blocks(map, input, session, imported, progress);
  });
}

Result<void> Volumes::adopt_blocks(MapId map, const TinyVol& manifest, cas::WriteSession& session, Imported& imported,
                                   const Volume::Progress& progress) {
  if (manifest.has_base())
    return fail(Errc::not_supported, "the manifest is over a base: only one that names all blocks can be imported");
  imported.size = manifest.size;
  // All are asked for before anything is made, and the session keeps those that are there.
  std::uint64_t missing = 0;
  const TinyVol::Block* first = nullptr;
  for (const TinyVol::Block& block : manifest.blocks) {
    const auto known = session.adopt(block.id, volume_block_length(manifest.size, block.offset));
    if (!known) return fail(known.error());
    if (!*known && missing++ == 0) first = &block;
  }
  if (missing > 0)
    return fail(Errc::unavailable, std::to_string(missing) + " of " + std::to_string(manifest.blocks.size()) +
                                       " blocks are not in the store, the first is chunk " + first->id.hex() +
                                       " of offset " + std::to_string(first->offset));
  if (auto durable = session.commit(); !durable) return durable;  // of others who are just storing them
  ExtentBatch extents{parts_.database, map};
  for (const TinyVol::Block& block : manifest.blocks) {
    const std::uint64_t length = volume_block_length(manifest.size, block.offset);
    const auto size = parts_.contents.chunk_size(block.id);
    if (!size) return fail(size.error());
    if (*size != length)
      return fail(Errc::corrupt, "chunk " + block.id.hex() + " of offset " + std::to_string(block.offset) + " has " +
                                     std::to_string(size->value_or(0)) + " bytes, and a block there " +
                                     std::to_string(length));
    extents.put(block.offset, block.id, length);
    imported.mapped += length;
    if (extents.count() < kAdoptedBatch) continue;
    if (auto written = extents.write(); !written) return written;
    if (progress && !progress(block.offset, imported.size)) return fail(Errc::cancelled, "cancelled");
  }
  return extents.write();
}

Result<Volumes::Imported> Volumes::adopt(const std::string& name, const TinyVol& manifest, std::string origin,
                                         const Volume::Progress& progress) {
  return build(name, std::move(origin), [&](MapId map, cas::WriteSession& session, Imported& imported) {
    return adopt_blocks(map, manifest, session, imported, progress);
  });
}

}  // namespace stellarium::fs
