#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "fs/block_map.h"
#include "fs/places.h"
#include "fs/staging.h"
#include "fs/tinyvol.h"
#include "fs/volume_records.h"
#include "tier/tier.h"

namespace stellarium::fs {

/// A block image that is read and written in place.
///
/// What was written lies in one sparse staged file, of which the host's hole map says which places of 4 KiB are there;
/// below it are the blocks of the map, and below those zeros. `settle` turns staged blocks into contents of the store.
///
/// Order on disk: a staged file is durable before the record that names it; contents before the extents that name them;
///          extents before the staged places that they replace are punched out. So after a crash every byte is there
///          that `sync` was called for, and each of the others is what it was or what was written.
/// Threads: all functions may be called concurrently. Reads share a lock, changes have it alone, over their I/O: what a
///          read finds in the hole map must hold until it has read.
/// Errors:  corrupt and those of the tier for bytes that cannot be delivered; out_of_space, io. After a write that
/// broke
///          off inside a place of 4 KiB, all functions fail (io) until the server is started again.
class Volume {
 public:
  struct Parts {
    cas::Database& database;
    cas::ContentStore& contents;
    tier::Tier& tier;
    Staging& staging;
  };
  /// Borrows the parts. `record` is what the database has under `name`. Errors: corrupt (map or staged file is
  /// missing).
  static Result<std::shared_ptr<Volume>> open(const Parts& parts, std::string name, VolumeRecord record);

  const std::string& name() const { return name_; }
  std::uint64_t number() const { return number_; }
  VolumeRecord record() const;
  struct Status {
    std::uint64_t size = 0;
    std::uint64_t allocated = 0;  ///< bytes of mapped blocks and of the staged file, each counted where both have one
    Timespec changed, created;
  };
  [[nodiscard]] Result<Status> status() const;

  /// Fills `out` from `offset` on, cut at the volume's end; returns how many bytes. May wait for a cold block.
  [[nodiscard]] Result<std::size_t> read(std::uint64_t offset, MutableByteSpan out) const;
  /// Returns how many bytes were written: fewer at the volume's end. Errors: out_of_space behind it, as of a disk.
  [[nodiscard]] Result<std::size_t> write(std::uint64_t offset, ByteSpan data);
  /// Zeros from now on, which take no room: places of 4 KiB inside blocks that the map has excepted, until they are
  /// settled. What lies behind the volume's end is ignored.
  [[nodiscard]] Result<void> zero(std::uint64_t offset, std::uint64_t length);
  /// The next place at or behind `offset` that takes room, or that takes none; the size if there is none. Zeros that
  /// were written count as data until they are settled.
  [[nodiscard]] Result<std::uint64_t> next_data(std::uint64_t offset) const;
  [[nodiscard]] Result<std::uint64_t> next_hole(std::uint64_t offset) const;
  /// Every change that was answered before is on disk when this returns.
  [[nodiscard]] Result<void> sync();
  /// Errors: invalid_argument (smaller than it is, or too large).
  [[nodiscard]] Result<void> grow(std::uint64_t size);

  /// False stops it with `cancelled`; what was settled stays so.
  using Progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;
  /// Turns what is staged into contents, in passes that stop nobody, and frees it. Blocks that are written meanwhile
  /// may stay staged.
  [[nodiscard]] Result<void> settle(const Progress& progress);
  /// The same to the last block, then runs `then` while nobody can write. Its argument is the record as the database
  /// has it; what it returns takes its place, and has been written there.
  using Frozen = std::function<Result<VolumeRecord>(const VolumeRecord&, const BlockMap&)>;
  [[nodiscard]] Result<void> freeze(const Progress& progress, const Frozen& then);
  /// All of it becomes something else: `with` says what, from the record as it is, and has written that to the
  /// database. What was staged goes.
  using Replacement = std::function<Result<VolumeRecord>(const VolumeRecord&)>;
  [[nodiscard]] Result<void> replace_all(const Replacement& with);
  /// `count` whole blocks from `first` on become those of `blocks`, and zeros where it has none. Durable.
  [[nodiscard]] Result<void> put_blocks(std::uint64_t first, std::uint64_t count, const BlockMap::Blocks& blocks);
  /// The volume at one moment. Its blocks stay in the store as long as `session` lives.
  [[nodiscard]] Result<TinyVol> manifest(cas::WriteSession& session, const Progress& progress);

 private:
  using Blocks = std::vector<std::uint64_t>;
  enum class Lock : std::uint8_t { shared, held };  ///< who calls a part of settling has nothing, or all

  Volume(const Parts& parts, std::string name, VolumeRecord record, BlockMap map)
      : parts_{parts},
        name_{std::move(name)},
        number_{record.number},
        record_{std::move(record)},
        map_{std::move(map)} {}

  // All of these expect lock_, those that change something alone.
  Result<void> usable() const;
  Result<PlaceRun> run_at(std::uint64_t offset) const;  ///< whether `offset` is staged, and how far that goes
  Result<void> read_all(std::uint64_t offset, MutableByteSpan out) const;  ///< within the size
  Result<void> read_mapped(std::uint64_t offset, MutableByteSpan out) const;
  Result<void> make_staged();
  Result<std::size_t> put(std::uint64_t offset, ByteSpan data);
  Result<void> put_zeros(std::uint64_t offset, std::uint64_t end);
  Result<void> punch(std::uint64_t offset, std::uint64_t end);
  Result<void> zero_blocks(std::uint64_t first, std::uint64_t last);
  Result<void> zero_places(std::uint64_t offset, std::uint64_t end);
  Result<std::uint64_t> seek(std::uint64_t offset, bool data) const;
  /// `extents` in the map and the record, in one synced batch.
  Result<void> commit(const BlockMap::Blocks& extents);
  void touch(std::uint64_t offset, std::uint64_t end);

  // Settling (volume_settle.cpp): one at a time, by settling_.
  Result<Blocks> staged_blocks() const;
  Result<void> settle_pass(const Progress& progress, Lock lock, std::size_t& left);
  Result<void> settle_group(const Blocks& group, Lock lock);
  Result<BlockMap::Blocks> store_group(const Blocks& group, cas::WriteSession& session, Lock lock);
  Result<void> replace(BlockMap::Blocks extents);

  const Parts parts_;
  const std::string name_;
  const std::uint64_t number_;
  Mutex settling_;  // taken before lock_, and held over the whole settling
  mutable std::shared_mutex lock_;
  VolumeRecord record_;
  BlockMap map_;
  std::shared_ptr<Staging::File> staged_;      // null: nothing was written
  std::unordered_set<std::uint64_t> touched_;  // blocks changed while a group of them is being stored
  bool watching_ = false;                      // whether that is so
  bool broken_ = false;
};

}  // namespace stellarium::fs
