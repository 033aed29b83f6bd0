#pragma once
#include <atomic>
#include <cstdint>
#include <thread>

#include "base/io.h"
#include "base/mutex.h"
#include "cas/chunk_index.h"
#include "cas/codec.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "cas/distrusted_chunks.h"
#include "cas/frame_pipeline.h"
#include "cas/pending_chunks.h"
#include "cas/segment_set.h"
#include "cas/session_guards.h"
#include "cas/worker_pool.h"

namespace stellarium::cas {

/// What the parts of an open content store share: sessions, fetch, gc, recompress, check and rebuild work on it.
struct StoreParts {
  StoreParts(Database& database_, Io& io_, const ContentStore::Options& options_, std::unique_ptr<SegmentSet> segments_)
      : database{database_},
        io{io_},
        options{options_},
        index{database_},
        segments{std::move(segments_)},
        compressor{options_.zstd_level},
        workers{options_.workers != 0 ? options_.workers : std::max(1u, std::thread::hardware_concurrency())} {}

  FramePipeline::Parts pipeline(Compressor& with) {
    return {index, *segments, pending, workers, with, options.segment_bytes, made};
  }

  Database& database;
  Io& io;
  const ContentStore::Options options;
  ChunkIndex index;
  std::unique_ptr<SegmentSet> segments;
  PendingChunks pending;
  SessionGuards guards;
  DistrustedChunks distrusted;
  Compressor compressor;
  Decompressor decompressor;
  const std::shared_ptr<FrameBuffers> made = std::make_shared<FrameBuffers>(kMaxContainer),
                                      decoded = std::make_shared<FrameBuffers>(kMaxFrameRaw);
  WorkerPool workers;  // after what its jobs use
  Mutex maintenance;   // gc, recompress, check and rebuild exclude one another
  std::atomic<bool> closed = false;
  std::atomic<std::uint64_t> frames_decoded = 0, corrupt_reads = 0;
};

/// The stored pages of a content's recipe; none if the store has no recipe for it. Errors: corrupt, io.
[[nodiscard]] Result<std::vector<std::string>> recipe_pages(const Database& database, const ContentId& content);

// Each in a file of its own; what they promise is said in content_store.h.
std::unique_ptr<WriteSession> make_session(StoreParts& parts);
[[nodiscard]] Result<std::shared_ptr<const DecodedFrame>> fetch_frame(StoreParts& parts, const ChunkId& id);
/// Whether the chunk can be read and has the right bytes. Errors: io and the like, which say nothing about that.
[[nodiscard]] Result<bool> can_deliver(StoreParts& parts, const ChunkId& id);
[[nodiscard]] Result<ContentStore::RepairReport> repair_chunks(StoreParts& parts, std::span<const ChunkId> damaged,
                                                               const ContentStore::Copies& copies,
                                                               const ContentStore::Progress& progress)
    REQUIRES(parts.maintenance);
[[nodiscard]] Result<ContentStore::GcReport> collect_garbage(StoreParts& parts, const ContentStore::LiveContents& live,
                                                             bool dry_run, bool allow_empty,
                                                             const ContentStore::Progress& progress)
    REQUIRES(parts.maintenance);
[[nodiscard]] Result<ContentStore::RecompressReport> recompress_segments(StoreParts& parts, int level,
                                                                         const ContentStore::Progress& progress)
    REQUIRES(parts.maintenance);
[[nodiscard]] Result<ContentStore::CheckReport> check_store(StoreParts& parts, bool deep,
                                                            const ContentStore::Progress& progress)
    REQUIRES(parts.maintenance);
[[nodiscard]] Result<void> rebuild_database(StoreParts& parts, const ContentStore::Progress& progress)
    REQUIRES(parts.maintenance);

}  // namespace stellarium::cas
