// How what was written to a volume becomes contents of the store.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>
#include <optional>

#include "fs/volume.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kGroup = 256;     // blocks that become extents in one batch: 16 MiB
constexpr std::size_t kFewBlocks = 64;  // so many may be settled while writers wait: 4 MiB
constexpr int kPasses = 3;              // before writers wait for the rest, however many

}  // namespace

Result<Volume::Blocks> Volume::staged_blocks() const {
  Blocks blocks;
  for (std::uint64_t at = 0; at < record_.size;) {
    const auto run = run_at(at);
    if (!run) return fail(run.error());
    if (run->there) {
      std::uint64_t block = at / kVolumeBlock;
      if (!blocks.empty() && blocks.back() == block) ++block;
      for (; block * kVolumeBlock < run->end; ++block) blocks.push_back(block);
    }
    at = run->end;
  }
  return blocks;
}

Result<BlockMap::Blocks> Volume::store_group(const Blocks& group, cas::WriteSession& session, Lock lock) {
  BlockMap::Blocks extents;
  std::vector<std::byte> buffer(kVolumeBlock);
  for (const std::uint64_t block : group) {
    MutableByteSpan bytes;
    {
      const auto shared = lock == Lock::held ? std::shared_lock<std::shared_mutex>{} : std::shared_lock{lock_};
      bytes = MutableByteSpan{buffer}.first(volume_block_length(record_.size, block * kVolumeBlock));
      if (auto read = read_all(block * kVolumeBlock, bytes); !read) return fail(read.error());
    }
    if (all_zero(bytes)) {
      extents.emplace_back(block, Extent{});
      continue;
    }
    // A content of one chunk, whose id is the content's. Frames, not packs: neighbours are read together.
    const auto writer = session.begin(cas::Placement::program);
    if (auto stored = writer->append(bytes); !stored) return fail(stored.error());
    const auto id = writer->finish();
    if (!id) return fail(id.error());
    extents.emplace_back(block, Extent{*id, static_cast<std::uint32_t>(bytes.size())});
  }
  if (auto durable = session.commit(); !durable) return fail(durable.error());
  return extents;
}

// With nobody else in the volume. What was written since it was read stays staged, and goes before the extent.
Result<void> Volume::replace(BlockMap::Blocks extents) {
  std::erase_if(extents, [this](const auto& entry) { return touched_.contains(entry.first); });
  if (extents.empty()) return {};
  if (auto written = commit(extents); !written) return written;
  struct stat before {};
  if (::fstat(staged_->fd(), &before) != 0) return fail_errno("volume " + name_);
  for (auto first = extents.begin(); first != extents.end();) {
    auto next = first + 1;
    while (next != extents.end() && next->first == (next - 1)->first + 1) ++next;
    if (auto freed = punch(first->first * kVolumeBlock, ((next - 1)->first + 1) * kVolumeBlock); !freed) return freed;
    first = next;
  }
  // Settling changes no byte of the volume, so it changes no time either.
  const timespec times[2] = {before.st_atim, before.st_mtim};
  if (::futimens(staged_->fd(), times) != 0) return fail_errno("volume " + name_);
  return {};
}

Result<void> Volume::settle_group(const Blocks& group, Lock lock) {
  // Open until the extents are written: gc deletes nothing that a session stored or found.
  const auto session = parts_.contents.begin_session();
  if (lock == Lock::held) {
    auto extents = store_group(group, *session, lock);
    return extents ? replace(std::move(*extents)) : fail(extents.error());
  }
  {
    const std::unique_lock alone{lock_};
    touched_.clear();
    watching_ = true;
  }
  auto extents = store_group(group, *session, lock);
  const std::unique_lock alone{lock_};
  watching_ = false;
  if (!extents) return fail(extents.error());
  auto replaced = replace(std::move(*extents));
  touched_.clear();
  return replaced;
}

Result<void> Volume::settle_pass(const Progress& progress, Lock lock, std::size_t& left) {
  Blocks blocks;
  {
    const auto shared = lock == Lock::held ? std::shared_lock<std::shared_mutex>{} : std::shared_lock{lock_};
    if (auto ok = usable(); !ok) return ok;
    auto staged = staged_blocks();
    if (!staged) return fail(staged.error());
    blocks = std::move(*staged);
  }
  left = blocks.size();
  if (lock == Lock::shared && left <= kFewBlocks && left != 0) return {};
  for (std::size_t at = 0; at < blocks.size(); at += kGroup) {
    if (progress && !progress(at * kVolumeBlock, blocks.size() * kVolumeBlock))
      return fail(Errc::cancelled, "settling volume " + name_ + " was cancelled");
    const auto from = blocks.begin() + static_cast<std::ptrdiff_t>(at);
    const auto to = blocks.begin() + static_cast<std::ptrdiff_t>(std::min(at + kGroup, blocks.size()));
    if (auto settled = settle_group(Blocks{from, to}, lock); !settled)
      return fail(settled.error(), "settling volume " + name_);
  }
  return {};
}

Result<void> Volume::settle(const Progress& progress) {
  return freeze(progress, {});
}

Result<void> Volume::freeze(const Progress& progress, const Frozen& then) {
  const MutexLock one_at_a_time{settling_};
  std::size_t left = kFewBlocks + 1;
  for (int pass = 0; pass < kPasses && left > kFewBlocks; ++pass) {
    if (auto settled = settle_pass(progress, Lock::shared, left); !settled) return settled;
  }
  const std::unique_lock alone{lock_};
  if (auto settled = settle_pass(progress, Lock::held, left); !settled) return settled;
  if (!then) return {};
  auto next = then(record_, map_);
  if (!next) return fail(next.error());
  auto map = BlockMap::open(parts_.database, next->map);
  if (!map) {
    broken_ = true;  // the map that this object has may be a clone's, too, and must not change any more
    return fail(map.error(), "volume " + name_);
  }
  record_ = std::move(*next);
  map_ = std::move(*map);
  return {};
}

Result<void> Volume::replace_all(const Replacement& with) {
  const MutexLock one_at_a_time{settling_};
  const std::unique_lock alone{lock_};
  if (auto ok = usable(); !ok) return ok;
  const StagedId before = record_.staged;
  auto next = with(record_);
  if (!next) return fail(next.error());
  auto map = BlockMap::open(parts_.database, next->map);
  if (!map) {
    broken_ = true;  // this object shows what the volume was
    return fail(map.error(), "volume " + name_);
  }
  record_ = std::move(*next);
  map_ = std::move(*map);
  staged_.reset();
  return before == 0 ? Result<void>{} : parts_.staging.remove(before);
}

Result<void> Volume::put_blocks(std::uint64_t first, std::uint64_t count, const BlockMap::Blocks& blocks) {
  const std::unique_lock alone{lock_};
  if (auto ok = usable(); !ok) return ok;
  touch(first * kVolumeBlock, (first + count) * kVolumeBlock);
  const auto before = map_.list(first, first + count);
  if (!before) return fail(before.error(), "volume " + name_);
  std::map<std::uint64_t, Extent> next;
  for (const auto& [block, extent] : *before) next[block] = {};
  for (const auto& [block, extent] : blocks) next[block] = extent;
  if (auto written = commit({next.begin(), next.end()}); !written) return written;
  return punch(first * kVolumeBlock, (first + count) * kVolumeBlock);
}

Result<TinyVol> Volume::manifest(cas::WriteSession& session, const Progress& progress) {
  TinyVol manifest;
  auto frozen = freeze(progress, [&](const VolumeRecord& record, const BlockMap& map) -> Result<VolumeRecord> {
    manifest.size = record.size;
    const auto blocks = map.list(0, (record.size + kVolumeBlock - 1) / kVolumeBlock);
    if (!blocks) return fail(blocks.error());
    for (const auto& [block, extent] : *blocks) {
      if (extent.length != volume_block_length(record.size, block * kVolumeBlock))
        return fail(Errc::corrupt, "volume " + name_ + ": block " + std::to_string(block) + " is too short");
      // Held by the session from now on, whatever is written over it.
      const auto known = session.adopt(extent.id, extent.length);
      if (!known) return fail(known.error());
      if (!*known)
        return fail(Errc::corrupt,
                    "volume " + name_ + ": block " + std::to_string(block) + " is missing from the store");
      manifest.blocks.push_back({extent.id, block * kVolumeBlock, false});
    }
    return record;
  });
  if (!frozen) return fail(frozen.error());
  return manifest;
}

}  // namespace stellarium::fs
