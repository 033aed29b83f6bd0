#include "fs/record_cache.h"

#include <utility>

namespace stellarium::fs {

Result<std::optional<RecordCache::Located>> RecordCache::locate(const LayerReader& reader, Ino ino) {
  Place& place = place_of(ino);
  std::uint64_t version = 0;
  {
    const MutexLock lock{place.mutex};
    if (place.ino == ino && ino != 0) return place.record;
    version = place.version;
  }
  // Asked after the version was read: a hold that begins later raises it.
  const bool held = holds_ != 0;
  Result<std::optional<Located>> found = reader.locate(ino);
  if (held || !found || !*found) return found;
  const MutexLock lock{place.mutex};
  if (place.version == version) {
    place.ino = ino;
    place.record = **found;
  }
  return found;
}

void RecordCache::written(Ino ino, Located record) {
  Place& place = place_of(ino);
  const MutexLock lock{place.mutex};
  ++place.version;
  place.ino = ino;
  place.record = std::move(record);
}

void RecordCache::drop(Ino ino) {
  Place& place = place_of(ino);
  const MutexLock lock{place.mutex};
  ++place.version;
  if (place.ino == ino) place.ino = 0;
}

RecordCache::Hold::Hold(RecordCache& records) : records_{records} {
  ++records_.holds_;
  for (Place& place : records_.places_) {
    const MutexLock lock{place.mutex};
    ++place.version;
    place.ino = 0;
  }
}

}  // namespace stellarium::fs
