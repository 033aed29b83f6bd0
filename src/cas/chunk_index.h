#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/database.h"
#include "cas/hash.h"
#include "cas/recent_ids.h"

namespace stellarium::cas {

/// Where a chunk is: a container in a segment, and a range of the container's uncompressed data.
struct ChunkLocation {
  std::uint32_t segment;
  std::uint32_t container;   ///< offset of the container in the segment
  std::uint32_t raw_offset;  ///< of the chunk in the container's data; below 2^24
  std::uint32_t size;        ///< 1 … 64 KiB
  bool operator==(const ChunkLocation&) const = default;
};

std::string encode_location(const ChunkLocation& location);  ///< 14 bytes (docs/formats/chunk-index.md)
[[nodiscard]] Result<ChunkLocation> decode_location(std::string_view value);

/// Chunk id → location, in the family `chunk`.
///
/// Who writes: sessions add, gc erases, recompress moves. All go through one lock, and the last two compare before they
///             change, so that none of them undoes what another one did since it looked.
/// Cost:       a miss is answered by a filter (about 1 µs), a hit reads one block (3 to 7 µs when it is cached).
/// Threads:    all functions may be called concurrently.
class ChunkIndex {
 public:
  struct Entry {
    ChunkId id;
    ChunkLocation at;
  };
  struct Move {
    ChunkId id;
    ChunkLocation from, to;
  };

  explicit ChunkIndex(Database& database) : database_{database} {}

  [[nodiscard]] Result<std::optional<ChunkLocation>> find(const ChunkId& id) const;
  /// Whether the index has `id`, which the caller must have kept gc from erasing (SessionGuards). Costs 0.1 µs for ids
  /// that were lately met.
  [[nodiscard]] Result<bool> contains(const ChunkId& id);
  /// Whether the index sends readers of `id` to exactly this place.
  [[nodiscard]] Result<bool> points_to(const ChunkId& id, const ChunkLocation& at) const;

  /// `batch` carries what has to change together with the index, and is consumed in each of these.
  [[nodiscard]] Result<void> add(std::span<const Entry> entries, Database::Batch batch) EXCLUDES(writer_);
  /// Moves the chunks that are still at `from`; the others stay. Returns how many moved.
  [[nodiscard]] Result<std::uint64_t> move(std::span<const Move> moves, Database::Batch batch) EXCLUDES(writer_);
  /// Forgets the chunks that are still at `at`. Returns how many were.
  [[nodiscard]] Result<std::uint64_t> erase(std::span<const Entry> entries) EXCLUDES(writer_);

  /// Ascending walk over all chunks as of now.
  class Walk {
   public:
    explicit Walk(std::unique_ptr<Database::Cursor> cursor) : cursor_{std::move(cursor)} {}
    /// The next entry, nothing at the end. Errors: corrupt, io.
    [[nodiscard]] Result<std::optional<Entry>> next();

   private:
    std::unique_ptr<Database::Cursor> cursor_;
  };
  Walk walk() const;

 private:
  Database& database_;
  RecentIds recent_;
  Mutex writer_;
};

}  // namespace stellarium::cas
