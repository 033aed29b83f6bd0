#include "fs/volumes.h"

#include <time.h>

#include <algorithm>

#include "fs/catalog.h"
#include "fs/clock.h"
#include "fs/families.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

using Batch = cas::Database::Batch;
using Sync = cas::Database::Sync;

constexpr std::size_t kBatch = 4096;  // extents in one unsynced batch: 200 KiB

tl::unexpected<Error> no_such_volume(const std::string& name) {
  return fail(Errc::not_found, "there is no volume " + name);
}

Result<void> check_size(std::uint64_t size) {
  if (size == 0 || size > kMaxVolumeSize) return fail(Errc::invalid_argument, "a volume has 1 byte to 256 TiB");
  return {};
}

Result<std::optional<VolumeRecord>> read_volume(const cas::Database& database, const std::string& name) {
  const auto value = database.get(kVolumeFamily, name);
  if (!value) return fail(value.error());
  if (!*value) return std::nullopt;
  auto record = decode_volume(**value);
  if (!record) return fail(record.error(), "volume " + name);
  return std::move(*record);
}

Result<std::vector<Volumes::Listed>> read_volumes(const cas::Database& database) {
  std::vector<Volumes::Listed> volumes;
  const auto cursor = database.scan(kVolumeFamily, {}, {});
  for (; cursor->valid(); cursor->next()) {
    auto record = decode_volume(cursor->value());
    if (!record) return fail(record.error(), "volume " + std::string{cursor->key()});
    volumes.push_back({std::string{cursor->key()}, std::move(*record)});
  }
  if (auto walked = cursor->status(); !walked) return fail(walked.error());
  return volumes;
}

void put_counters(Batch& batch, const VolumeCounters& counters) {
  batch.put(kMapFamily, map_key(0), encode_volume_counters(counters));
}

}  // namespace

Result<VolumeCounters> Volumes::counters() const {
  const auto value = parts_.database.get(kMapFamily, map_key(0));
  if (!value) return fail(value.error());
  return *value ? decode_volume_counters(**value) : VolumeCounters{};
}

Result<void> Volumes::check_free(const std::string& name) const {
  const auto parsed = ImageName::parse(name);  // volumes are named as images are, without a tag
  if (!parsed || parsed->name != name)
    return fail(Errc::invalid_argument, "volume name " + name +
                                            ": expected 1 to 128 letters, digits, '.', '_' or '-', not beginning with "
                                            "'.' or '-'");
  const auto taken = read_volume(parts_.database, name);
  if (!taken) return fail(taken.error());
  if (*taken) return fail(Errc::exists, "there is a volume " + name + " already");
  return {};
}

Result<void> Volumes::create(const std::string& name, std::uint64_t size, std::string origin) {
  if (auto ok = check_size(size); !ok) return ok;
  const MutexLock lock{mutex_};
  if (auto ok = check_free(name); !ok) return ok;
  auto next = counters();
  if (!next) return fail(next.error());
  VolumeRecord record{.number = next->next_number++, .map = next->next_map++, .size = size};
  record.created = record.changed = now();
  record.origin = std::move(origin);
  Batch batch;
  put_counters(batch, *next);
  batch.put(kMapFamily, map_key(record.map), encode_map({}));
  batch.put(kVolumeFamily, name, encode_volume(record));
  return parts_.database.write(std::move(batch), Sync::yes);
}

Result<std::shared_ptr<Volume>> Volumes::open_locked(const std::string& name) {
  if (const auto known = open_.find(name); known != open_.end()) {
    if (auto volume = known->second.lock()) return volume;
    open_.erase(known);
  }
  auto record = read_volume(parts_.database, name);
  if (!record) return fail(record.error());
  if (!*record) return no_such_volume(name);
  auto volume = Volume::open(parts_, name, std::move(**record));
  if (volume) open_[name] = *volume;
  return volume;
}

Result<std::shared_ptr<Volume>> Volumes::open(const std::string& name) {
  const MutexLock lock{mutex_};
  return open_locked(name);
}

Result<std::shared_ptr<Volume>> Volumes::open(std::uint64_t number) {
  const MutexLock lock{mutex_};
  for (const auto& [name, known] : open_) {
    if (auto volume = known.lock(); volume && volume->number() == number) return volume;
  }
  const auto volumes = read_volumes(parts_.database);
  if (!volumes) return fail(volumes.error());
  const auto found = std::ranges::find(*volumes, number, [](const Listed& listed) { return listed.record.number; });
  if (found == volumes->end()) return fail(Errc::not_found, "no volume has this number");
  return open_locked(found->name);
}

bool Volumes::in_use(const std::string& name) {
  const MutexLock lock{mutex_};
  const auto known = open_.find(name);
  return known != open_.end() && !known->second.expired();
}

Result<std::vector<Volumes::Listed>> Volumes::list() const {
  return read_volumes(parts_.database);
}

Result<MapId> Volumes::shorten(const BlockMap& map, VolumeCounters& next) {
  const auto depth = map.depth_to_merge(kFlattenAt / 2);
  if (!depth) return fail(depth.error());
  const auto blocks = map.merged(*depth);
  if (!blocks) return fail(blocks.error());
  const MapId merged = next.next_map++;
  // Known before it has extents, so that a sweep finds them if this is cut short. The batches need no sync of their
  // own: the log is one, and the batch that names the map is synced.
  Batch batch;
  put_counters(batch, next);
  batch.put(kMapFamily, map_key(merged), encode_map({*depth < map.chain().size() ? map.chain()[*depth] : 0}));
  for (std::size_t i = 0; i < blocks->size(); ++i) {
    batch.put(kExtentFamily, extent_key(merged, (*blocks)[i].first), encode_extent((*blocks)[i].second));
    if (i % kBatch != kBatch - 1) continue;
    if (auto written = parts_.database.write(std::move(batch), Sync::no); !written) return fail(written.error());
    batch = {};
  }
  if (auto written = parts_.database.write(std::move(batch), Sync::no); !written) return fail(written.error());
  return merged;
}

// The source's map is frozen, and it goes on in one over it. One that says nothing itself is passed over.
Result<MapId> Volumes::freeze_map(VolumeRecord& source, const BlockMap& map, const std::string& name,
                                  VolumeCounters& next, Batch& batch) {
  const auto empty = map.top_is_empty();
  if (!empty) return fail(empty.error());
  if (*empty) return map.chain().size() > 1 ? map.chain()[1] : 0;
  MapId parent = source.map;
  if (map.chain().size() >= kFlattenAt) {
    const auto merged = shorten(map, next);
    if (!merged) return fail(merged.error());
    parent = *merged;
  }
  source.map = next.next_map++;
  batch.put(kMapFamily, map_key(source.map), encode_map({parent}));
  batch.put(kVolumeFamily, name, encode_volume(source));
  return parent;
}

// Both go on in maps over what the source has now.
Result<VolumeRecord> Volumes::divide(const VolumeRecord& source, const BlockMap& map, const std::string& from,
                                     const std::string& name) {
  auto next = counters();
  if (!next) return fail(next.error());
  VolumeRecord rest = source;
  Batch batch;
  const auto parent = freeze_map(rest, map, from, *next, batch);
  if (!parent) return fail(parent.error());
  VolumeRecord made = rest;
  made.number = next->next_number++;
  made.map = next->next_map++;
  made.staged = 0;
  made.created = made.changed = now();
  made.origin = from;
  batch.put(kMapFamily, map_key(made.map), encode_map({*parent}));
  batch.put(kVolumeFamily, name, encode_volume(made));
  put_counters(batch, *next);
  if (auto written = parts_.database.write(std::move(batch), Sync::yes); !written) return fail(written.error());
  return rest;
}

Result<void> Volumes::clone(const std::string& from, const std::string& name, const Volume::Progress& progress) {
  {
    const MutexLock lock{mutex_};
    if (auto ok = check_free(name); !ok) return ok;
  }
  // Most of what is staged without the lock: nobody else need wait for it.
  const auto source = open(from);
  if (!source) return fail(source.error());
  if (auto settled = (*source)->settle(progress); !settled) return settled;
  const MutexLock lock{mutex_};
  if (auto ok = check_free(name); !ok) return ok;
  const auto known = read_volume(parts_.database, from);
  if (!known) return fail(known.error());
  if (!*known || (*known)->number != (*source)->number()) return no_such_volume(from);
  return (*source)->freeze(progress, [&](const VolumeRecord& record, const BlockMap& map)
                                         NO_THREAD_SAFETY_ANALYSIS { return divide(record, map, from, name); });
}

Result<void> Volumes::copy_all(Volume& from, Volume& to) {
  if (auto settled = from.settle({}); !settled) return settled;  // most of it while nobody waits
  const MutexLock lock{mutex_};
  std::optional<VolumeRecord> rest, made;  // once they are written, they are what the volumes have, whatever fails then
  const auto share = [&](const VolumeRecord& source, const BlockMap& map, const VolumeRecord& before)
                         NO_THREAD_SAFETY_ANALYSIS -> Result<void> {
    if (before.size != source.size) return fail(Errc::busy, "volume " + to.name() + " was resized just now");
    auto next = counters();
    if (!next) return fail(next.error());
    Batch batch;
    VolumeRecord left = source, copy = before;
    const auto parent = freeze_map(left, map, from.name(), *next, batch);
    if (!parent) return fail(parent.error());
    copy.map = next->next_map++;
    copy.mapped = source.mapped;
    copy.staged = 0;
    copy.changed = now();
    batch.put(kMapFamily, map_key(copy.map), encode_map({*parent}));
    batch.put(kVolumeFamily, to.name(), encode_volume(copy));
    put_counters(batch, *next);
    if (auto written = parts_.database.write(std::move(batch), Sync::yes); !written) return written;
    rest = std::move(left);
    made = std::move(copy);
    return {};
  };
  const auto result = [](const std::optional<VolumeRecord>& record, const Result<void>& done) {
    return record ? Result<VolumeRecord>{*record} : Result<VolumeRecord>{fail(done.error())};
  };
  // The locks of two volumes are taken in the order of their numbers.
  Result<void> inner, outer;
  if (from.number() < to.number()) {
    outer = from.freeze({}, [&](const VolumeRecord& source, const BlockMap& map) {
      inner = to.replace_all([&](const VolumeRecord& before) { return result(made, share(source, map, before)); });
      return result(rest, inner);
    });
  } else {
    outer = to.replace_all([&](const VolumeRecord& before) {
      inner = from.freeze({}, [&](const VolumeRecord& source, const BlockMap& map) {
        return result(rest, share(source, map, before));
      });
      return result(made, inner);
    });
  }
  return outer ? inner : outer;
}

Result<std::uint64_t> Volumes::copy(Volume& from, std::uint64_t offset, Volume& to, std::uint64_t to_offset,
                                    std::uint64_t length) {
  if (&from == &to) return std::uint64_t{0};
  const std::uint64_t size = from.record().size, room = to.record().size;
  if (offset == 0 && to_offset == 0 && length >= size && size == room) {
    if (auto shared = copy_all(from, to); !shared) return fail(shared.error());
    return size;
  }
  if (offset % kVolumeBlock != 0 || to_offset % kVolumeBlock != 0 || offset >= size || to_offset >= room)
    return std::uint64_t{0};
  length = std::min({length, size - offset, room - to_offset, kMaxCopy});
  const std::uint64_t first = offset / kVolumeBlock, count = length / kVolumeBlock;
  if (count == 0) return std::uint64_t{0};
  // It keeps the contents until the other volume names them, whatever is written to this one.
  const auto session = parts_.contents.begin_session();
  BlockMap::Blocks blocks;
  auto found = from.freeze({}, [&](const VolumeRecord& record, const BlockMap& map) -> Result<VolumeRecord> {
    auto listed = map.list(first, first + count);
    if (!listed) return fail(listed.error());
    blocks = std::move(*listed);
    for (const auto& [block, extent] : blocks) {
      const auto known = session->adopt(extent.id, extent.length);
      if (!known) return fail(known.error());
      if (!*known) return fail(Errc::corrupt, "volume " + from.name() + ": a block is missing from the store");
    }
    return record;
  });
  if (!found) return fail(found.error());
  for (auto& [block, extent] : blocks) block += to_offset / kVolumeBlock - first;
  if (auto put = to.put_blocks(to_offset / kVolumeBlock, count, blocks); !put) return fail(put.error());
  return count * kVolumeBlock;
}

Result<void> Volumes::remove(const std::string& name) {
  StagedId staged = 0;
  {
    const MutexLock lock{mutex_};
    const auto record = read_volume(parts_.database, name);
    if (!record) return fail(record.error());
    if (!*record) return no_such_volume(name);
    if (const auto known = open_.find(name); known != open_.end()) {
      if (!known->second.expired()) return fail(Errc::busy, "volume " + name + " is open");
      open_.erase(known);
    }
    staged = (*record)->staged;
    Batch batch;
    batch.erase(kVolumeFamily, name);
    if (auto written = parts_.database.write(std::move(batch), Sync::yes); !written) return written;
  }
  return staged == 0 ? Result<void>{} : parts_.staging.remove(staged);
}

Result<MapId> Volumes::reserve_map() {
  const MutexLock lock{mutex_};
  auto next = counters();
  if (!next) return fail(next.error());
  const MapId map = next->next_map++;
  Batch batch;
  put_counters(batch, *next);
  batch.put(kMapFamily, map_key(map), encode_map({}));
  if (auto written = parts_.database.write(std::move(batch), Sync::yes); !written) return fail(written.error());
  building_.insert(map);
  return map;
}

Result<Volumes::Imported> Volumes::build(const std::string& name, std::string origin, const Fill& fill) {
  {
    const MutexLock lock{mutex_};
    if (auto ok = check_free(name); !ok) return fail(ok.error());
  }
  const auto map = reserve_map();
  if (!map) return fail(map.error());
  const auto session = parts_.contents.begin_session();  // until the name is there
  Imported imported;
  auto filled = fill(*map, *session, imported);
  const MutexLock lock{mutex_};
  building_.erase(*map);  // without a name, the next sweep takes it
  if (!filled) return fail(filled.error());
  if (auto ok = check_size(imported.size); !ok) return fail(ok.error());
  if (auto ok = check_free(name); !ok) return fail(ok.error());
  auto next = counters();
  if (!next) return fail(next.error());
  VolumeRecord record{.number = next->next_number++, .map = *map, .size = imported.size, .mapped = imported.mapped};
  record.created = record.changed = now();
  record.origin = std::move(origin);
  Batch batch;
  put_counters(batch, *next);
  batch.put(kVolumeFamily, name, encode_volume(record));
  if (auto written = parts_.database.write(std::move(batch), Sync::yes); !written) return fail(written.error());
  imported.totals = session->totals();
  return imported;
}

Result<std::uint64_t> Volumes::sweep() {
  const MutexLock lock{mutex_};
  const auto volumes = read_volumes(parts_.database);
  if (!volumes) return fail(volumes.error());
  std::set<MapId> reached = building_;
  for (const Listed& volume : *volumes) {
    const auto map = BlockMap::open(parts_.database, volume.record.map);
    if (!map) return fail(map.error(), "volume " + volume.name);
    reached.insert(map->chain().begin(), map->chain().end());
  }
  std::vector<MapId> unreached;
  const auto cursor = parts_.database.scan(kMapFamily, map_key(1), {});
  for (; cursor->valid(); cursor->next()) {
    if (cursor->key().size() != sizeof(MapId)) return fail(Errc::corrupt, "block map: an impossible key");
    const auto map = load_be<MapId>(cursor->key().data());
    if (!reached.contains(map)) unreached.push_back(map);
  }
  if (auto walked = cursor->status(); !walked) return fail(walked.error());
  for (const MapId map : unreached) {
    // The extents first, so that what a crash leaves is found again by the map's own record.
    if (auto erased = parts_.database.erase_range(kExtentFamily, extent_key(map, 0), map_key(map + 1)); !erased)
      return fail(erased.error());
    Batch batch;
    batch.erase(kMapFamily, map_key(map));
    if (auto written = parts_.database.write(std::move(batch), Sync::no); !written) return fail(written.error());
  }
  return unreached.size();
}

Result<std::vector<StagedId>> staged_by_volumes(const cas::Database& database) {
  const auto volumes = read_volumes(database);
  if (!volumes) return fail(volumes.error());
  std::vector<StagedId> staged;
  for (const Volumes::Listed& volume : *volumes)
    if (volume.record.staged != 0) staged.push_back(volume.record.staged);
  return staged;
}

Result<void> visit_volume_contents(const cas::Database& database,
                                   const std::function<void(const cas::ContentStore::LiveContent&)>& found) {
  const auto cursor = database.scan(kExtentFamily, {}, {});
  for (; cursor->valid(); cursor->next()) {
    const auto extent = decode_extent(cursor->value());
    if (!extent) return fail(extent.error());
    if (!extent->is_zeros()) found({extent->id, extent->length});
  }
  return cursor->status();
}

}  // namespace stellarium::fs
