#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/database.h"
#include "fs/byte_stream.h"
#include "fs/volume.h"
#include "fs/volume_records.h"

namespace stellarium::fs {

/// The volumes of a store by name. All who use a volume share one object, so that two mounts may write it.
///
/// Making, cloning and removing one is one small synced batch; a clone settles first what was written to its source.
/// Names are not in the names journal: like clones, volumes do not survive the loss of the database.
/// Threads: all functions may be called concurrently. Names change one at a time, under a lock that is held over the
///          batch, and over the settling of what a clone is made of.
/// Errors:  not_found and exists name the volume; invalid_argument for impossible names and sizes.
class Volumes {
 public:
  /// The upper half or more of a chain of maps of this length is merged before a clone makes it longer: a look-up asks
  /// them all.
  static constexpr std::size_t kFlattenAt = 8;

  /// Borrows the parts.
  explicit Volumes(const Volume::Parts& parts) : parts_{parts} {}

  /// Names are 1 to 128 bytes of [A-Za-z0-9._-], not starting with '.' or '-'. `size`: 1 byte to 256 TiB, all zeros.
  [[nodiscard]] Result<void> create(const std::string& name, std::uint64_t size, std::string origin);
  /// Cost: that of settling `from`, and two records; every few clones in a row, merging the maps of what was written
  /// between them (BlockMap::depth_to_merge).
  [[nodiscard]] Result<void> clone(const std::string& from, const std::string& name, const Volume::Progress& progress);
  /// Makes bytes of a volume those of another one, by reference: all of them, where both have one size, at the cost of
  /// a clone; else whole blocks. Returns how many, fewer than asked for mostly, 0 if not a block can be shared. Durable
  /// when it returns. Cost: that of settling `from`, and 10 µs for each block.
  [[nodiscard]] Result<std::uint64_t> copy(Volume& from, std::uint64_t offset, Volume& to, std::uint64_t to_offset,
                                           std::uint64_t length);
  static constexpr std::uint64_t kMaxCopy = 256u << 20;  ///< bytes, but of whole volumes: nobody waits long behind it
  /// Errors: busy while somebody has it open.
  [[nodiscard]] Result<void> remove(const std::string& name);
  struct Imported {
    std::uint64_t size = 0, mapped = 0;
    cas::WriteSession::Totals totals;
  };
  /// A new volume of the disk that `input` sends (fs/disk_stream.h). Errors: those of reading; nothing is left of it
  /// then but what gc removes.
  [[nodiscard]] Result<Imported> import(const std::string& name, ByteInput& input, std::string origin,
                                        const Volume::Progress& progress);
  /// A new volume of blocks that the store has, whoever brought them. Errors: unavailable, saying how many it does not
  /// have and the first; corrupt for a block of another length; not_supported for a manifest over a base.
  /// Cost: three look-ups for each block; reads no content.
  [[nodiscard]] Result<Imported> adopt(const std::string& name, const TinyVol& manifest, std::string origin,
                                       const Volume::Progress& progress);

  [[nodiscard]] Result<std::shared_ptr<Volume>> open(const std::string& name);
  [[nodiscard]] Result<std::shared_ptr<Volume>> open(std::uint64_t number);
  struct Listed {
    std::string name;
    VolumeRecord record;
  };
  [[nodiscard]] Result<std::vector<Listed>> list() const;  ///< by name

  /// Removes the maps that no volume reaches; returns how many. For gc.
  [[nodiscard]] Result<std::uint64_t> sweep();
  /// How many users of the name's volume there are: mounts that have it open, commands.
  bool in_use(const std::string& name);

 private:
  Result<VolumeCounters> counters() const REQUIRES(mutex_);
  Result<void> check_free(const std::string& name) const;
  Result<std::shared_ptr<Volume>> open_locked(const std::string& name) REQUIRES(mutex_);
  Result<void> copy_all(Volume& from, Volume& to) EXCLUDES(mutex_);
  Result<MapId> freeze_map(VolumeRecord& source, const BlockMap& map, const std::string& name, VolumeCounters& next,
                           cas::Database::Batch& batch) REQUIRES(mutex_);
  Result<VolumeRecord> divide(const VolumeRecord& source, const BlockMap& map, const std::string& from,
                              const std::string& name) REQUIRES(mutex_);
  Result<MapId> shorten(const BlockMap& map, VolumeCounters& counters) REQUIRES(mutex_);
  /// A new volume whose map `fill` fills and says the size of.
  using Fill = std::function<Result<void>(MapId map, cas::WriteSession& session, Imported& imported)>;
  Result<Imported> build(const std::string& name, std::string origin, const Fill& fill);
  Result<MapId> reserve_map() EXCLUDES(mutex_);
  Result<void> store_blocks(MapId map, ByteInput& input, cas::WriteSession& session, Imported& imported,
                            const Volume::Progress& progress);
  Result<void> adopt_blocks(MapId map, const TinyVol& manifest, cas::WriteSession& session, Imported& imported,
                            const Volume::Progress& progress);

  const Volume::Parts parts_;
  Mutex mutex_;
  std::map<std::string, std::weak_ptr<Volume>> open_ GUARDED_BY(mutex_);
  std::set<MapId> building_ GUARDED_BY(mutex_);  // of imports under way: they have no name yet
};

/// What the staged files of volumes are, for the sweep after a start.
Result<std::vector<StagedId>> staged_by_volumes(const cas::Database& database);
/// Calls back with every content that an extent names, of live maps and of others: the roots of gc. Later extents are
/// kept by the session that stored their contents.
Result<void> visit_volume_contents(const cas::Database& database,
                                   const std::function<void(const cas::ContentStore::LiveContent&)>& found);

}  // namespace stellarium::fs
