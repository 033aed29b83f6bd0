#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/io.h"
#include "base/result.h"
#include "cas/chunk_source.h"
#include "cas/database.h"
#include "cas/hash.h"
#include "cas/recipe.h"
#include "cas/segment_format.h"  // StoreId

namespace stellarium::cas {

/// How a content will be used, which decides where its bytes are placed (never what its id is).
enum class Placement : std::uint8_t {
  data,      ///< up to 16 KiB: into a Cosmic Pack with other small files; else into frames
  program,   ///< programs and libraries: always into frames, because they are read as hot files
  metadata,  ///< layer objects and recipes
};

/// Receives the bytes of one content, in order. Made by WriteSession; one at a time per session.
class ContentWriter {
 public:
  virtual ~ContentWriter() = default;
  [[nodiscard]] virtual Result<void> append(ByteSpan data) = 0;
  /// Like appending `count` zero bytes, at a cost that does not grow with every byte (holes of sparse files).
  [[nodiscard]] virtual Result<void> append_zeros(std::uint64_t count) = 0;
  /// The content's id. What is new of it is durable only after the session's commit().
  [[nodiscard]] virtual Result<ContentId> finish() = 0;
  /// append(last) and finish(). A content that comes in one piece is not copied before it is known to be new.
  [[nodiscard]] virtual Result<ContentId> finish(ByteSpan last) {
    if (auto appended = append(last); !appended) return fail(std::move(appended).error());
    return finish();
  }
};

/// One import (or later: one settle). While it is open, gc deletes nothing that it wrote or found present; so it stays
/// open until what refers to its contents is published. Destroying it without commit() leaves garbage at most, which gc
/// removes.
///
/// Threads: one producer at a time; compression runs on the store's workers. Memory is bounded (a few frames per
/// worker).
class WriteSession {
 public:
  virtual ~WriteSession() = default;
  virtual std::unique_ptr<ContentWriter> begin(Placement placement) = 0;
  /// Whether the store already holds all of `content`, or this session is writing it; if so the session keeps it alive
  /// from now on.
  [[nodiscard]] virtual Result<bool> knows(const ContentId& content, std::uint64_t size) = 0;
  /// The same, and counts it as offered.
  [[nodiscard]] virtual Result<bool> adopt(const ContentId& content, std::uint64_t size) = 0;
  /// Takes a container that came from elsewhere and was decoded, so every chunk of it checked: it is stored as it is if
  /// all of it is new, else what of it is. Errors: invalid_argument (it holds no chunks of contents).
  [[nodiscard]] virtual Result<void> add_frame(ByteSpan container, const DecodedFrame& frame) = 0;
  /// Takes the chunk list of a content of more than one chunk, all of which must be here or in this session; the caller
  /// has seen that together they are that content. Errors: not_found (a chunk is missing).
  [[nodiscard]] virtual Result<void> add_recipe(const Recipe& recipe) = 0;
  /// Everything finished so far is on disk and findable when this returns. May be called several times.
  [[nodiscard]] virtual Result<void> commit() = 0;
  /// Begins with that in the background, so that a commit soon after has less to wait for; it tells what failed.
  virtual void begin_commit() = 0;

  struct Totals {
    std::uint64_t bytes_in = 0;      ///< content bytes offered
    std::uint64_t bytes_new = 0;     ///< of them in chunks that were not there
    std::uint64_t bytes_stored = 0;  ///< what the new ones take in segments
    std::uint64_t chunks_new = 0, chunks_known = 0;
  };
  virtual Totals totals() const = 0;
};

/// The contents of the store: chunks in frames in segments, found by the index, and recipes [Nebula].
///
/// Threads: all functions may be called concurrently.
class ContentStore : public ChunkSource {
 public:
  struct Options {
    unsigned workers = 0;                     ///< compression threads; 0: one per core
    int zstd_level = 1;                       ///< of new frames; gc --recompress uses a higher one
    std::uint64_t segment_bytes = 64u << 20;  ///< a segment is finished before it grows beyond this
    StoreId store{};  ///< the uuid in the store's `format` file; segments of another one are refused
  };
  /// Opens `dir` (made if missing): cuts torn tails above the durable length. Damage below it does not stop the store
  /// from opening, because the rest is still good; check() names it.
  static Result<std::unique_ptr<ContentStore>> open(Database& database, Io& io, const std::filesystem::path& dir,
                                                    const Options& options);

  virtual std::unique_ptr<WriteSession> begin_session() = 0;
  /// The chunks of a content. Cost: none for a single chunk, else one look-up per 1,024 chunks.
  [[nodiscard]] virtual Result<Recipe> recipe(const ContentId& content, std::uint64_t size) = 0;
  [[nodiscard]] virtual Result<bool> has_chunk(const ChunkId& id) = 0;
  /// Bytes of a chunk; nothing if the index does not know it, or not yet: before a commit.
  [[nodiscard]] virtual Result<std::optional<std::uint32_t>> chunk_size(const ChunkId& id) = 0;

  /// Calls back with every content that something still needs. Errors stop gc before anything is deleted.
  struct LiveContent {
    ContentId id;
    std::uint64_t size;
  };
  using LiveContents = std::function<Result<void>(const std::function<void(const LiveContent&)>& found)>;
  /// Called now and then during long work; returning false asks it to stop.
  using Progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

  struct GcReport {
    std::uint64_t live_chunks = 0, dead_chunks = 0, dead_bytes = 0, freed_bytes = 0, segments_removed = 0;
  };
  /// Two-phase mark and sweep; punches dead frames out of segments, removes empty segments. `dry_run` only reports.
  /// Refuses when `live` reports nothing while the store has chunks, unless `allow_empty`.
  [[nodiscard]] virtual Result<GcReport> collect(const LiveContents& live, bool dry_run, bool allow_empty,
                                                 const Progress& progress) = 0;

  struct RecompressReport {
    std::uint64_t bytes_before = 0, bytes_after = 0, frames = 0;
  };
  /// Rewrites all live frames at `level` in the best order for size, then drops the old segments.
  [[nodiscard]] virtual Result<RecompressReport> recompress(const LiveContents& live, int level,
                                                            const Progress& progress) = 0;

  /// Damage that a check found. `chunks` are the ids whose bytes cannot be delivered.
  struct Damage {
    std::string what;  ///< one line: object, where, expected and found
    std::vector<ChunkId> chunks;
  };
  struct CheckReport {
    std::uint64_t segments = 0, frames = 0, chunks = 0, bytes = 0;
    std::vector<Damage> damage;
  };
  /// Compares index, segments and footers; `deep` also decodes and re-hashes every chunk.
  [[nodiscard]] virtual Result<CheckReport> check(bool deep, const Progress& progress) = 0;

  /// The bytes of a chunk from somewhere else than the segments; a page of a recipe is stored as such.
  struct Copy {
    std::vector<std::byte> bytes;
    bool recipe_page = false;
  };
  using Copies = std::function<std::optional<Copy>(const ChunkId&)>;
  struct RepairReport {
    std::uint64_t restored = 0, lost = 0;  ///< chunks
  };
  /// Stores anew what of `damaged` cannot be delivered and `copies` has the right bytes of. What stays lost is stored
  /// by the next session that has it, though the index seems to know it, as long as this store is open.
  [[nodiscard]] virtual Result<RepairReport> repair(std::span<const ChunkId> damaged, const Copies& copies,
                                                    const Progress& progress) = 0;

  /// Fills an empty database from the segments' frames and footers: chunk index, segment table, recipes.
  [[nodiscard]] virtual Result<void> rebuild(const Progress& progress) = 0;

  struct Stats {
    std::uint64_t segments = 0, segment_bytes = 0, chunks = 0, raw_bytes = 0;
    std::uint64_t frames_decoded = 0, corrupt_reads = 0;
  };
  virtual Stats stats() = 0;
  /// Finishes open segments with their footers (small ones go on at the next open). The store then takes no more
  /// sessions; all that were open must be gone.
  [[nodiscard]] virtual Result<void> close() = 0;
  /// Memory that was kept for the next session goes back to the kernel, if there is none now.
  virtual void give_back_memory() = 0;
};

}  // namespace stellarium::cas
