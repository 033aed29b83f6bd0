#pragma once
#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/chunk_index.h"
#include "cas/codec.h"
#include "cas/frame_format.h"
#include "cas/pending_chunks.h"
#include "cas/segment_set.h"
#include "cas/worker_pool.h"

namespace stellarium::cas {

/// Turns new chunks into containers of one segment after another: gathers them into frames, compresses those on the
/// workers, appends them in the order in which they were filled, and enters them into the index once they are on disk.
///
/// Order:   frames reach the segment in the order of submission, so what is stored does not depend on the workers.
/// Memory:  one open frame per lane, and 64 + 2 per worker in flight: about 25 MiB; and what the index has to learn of
///          at most 33,000 chunks, 15 MiB. So many, because new contents come in bursts between known ones, and workers
///          that run dry are never caught up with.
/// Errors:  the first failure (out_of_space, io) ends the pipeline: every later call returns it, and its chunks are
///          pending no more, so that others store them again, in another segment.
/// Threads: one producer calls `add`; `make_durable` may be called by anyone.
class FramePipeline : public std::enable_shared_from_this<FramePipeline> {
 public:
  /// Frames that fill up side by side.
  enum class Lane : std::uint8_t { frames, packs, recipes, merged };

  struct Parts {
    ChunkIndex& index;
    SegmentSet& segments;
    PendingChunks& pending;
    WorkerPool& workers;
    Compressor& compressor;
    std::uint64_t segment_bytes;
    std::shared_ptr<FrameBuffers> buffers;  ///< of kMaxContainer
  };
  struct Totals {
    std::uint64_t bytes_stored = 0;  ///< of all containers appended
    std::uint64_t containers = 0;
  };

  explicit FramePipeline(const Parts& parts) : parts_{parts} {}
  FramePipeline(const FramePipeline&) = delete;
  FramePipeline& operator=(const FramePipeline&) = delete;
  ~FramePipeline();

  /// Takes a chunk that this pipeline owns in the pending table, or, with `from`, one that moves from there to a new
  /// place.
  [[nodiscard]] Result<void> add(Lane lane, const ChunkId& id, ByteSpan data,
                                 const std::optional<ChunkLocation>& from = std::nullopt) EXCLUDES(mutex_);
  /// Takes a whole container, whose chunks (its entries, in order) this pipeline owns in the pending table.
  [[nodiscard]] Result<void> add_container(ByteSpan container, const std::vector<DecodedFrame::Entry>& entries)
      EXCLUDES(mutex_);
  /// Everything added so far is on disk and in the index when this returns.
  [[nodiscard]] Result<void> make_durable() EXCLUDES(mutex_);
  /// make_durable without an answer, then gives up the segment. The last call.
  void close() EXCLUDES(mutex_);

  Totals totals() const EXCLUDES(mutex_);

 private:
  struct Frame {
    Frame(FrameKind kind, std::shared_ptr<FrameBuffers> buffers) : builder{kind, std::move(buffers)} {}
    const std::vector<DecodedFrame::Entry>& entries() const { return came.empty() ? builder.entries() : came; }
    FrameBuilder builder;
    std::vector<std::optional<ChunkLocation>> from;  // one per chunk
    FrameBuffer container;
    std::vector<DecodedFrame::Entry> came;  // with a container that was not made here
    bool encoded = false;
  };
  static constexpr std::size_t kLanes = 4;

  void submit(MutexLock& lock, Lane lane) REQUIRES(mutex_);
  void put_in_flight(const std::shared_ptr<Frame>& frame) REQUIRES(mutex_);
  void encode(Frame& frame) EXCLUDES(mutex_);
  void append_encoded() EXCLUDES(mutex_);
  Result<void> append(const Frame& frame);
  Result<void> append_to_segment(const Frame& frame);
  Result<void> publish(bool finished);
  void fail_with(const Error& error) EXCLUDES(mutex_);
  std::size_t room() const { return 64 + 2 * parts_.workers.size(); }

  const Parts parts_;

  mutable Mutex mutex_;
  std::condition_variable changed_;
  std::array<std::shared_ptr<Frame>, kLanes> open_ GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Frame>> in_flight_ GUARDED_BY(mutex_);
  std::uint64_t submitted_ GUARDED_BY(mutex_) = 0, done_ GUARDED_BY(mutex_) = 0;  // frames, since the beginning
  unsigned waiting_ GUARDED_BY(mutex_) = 0;    // for appending_, to sync; they go before further frames
  std::size_t jobs_ GUARDED_BY(mutex_) = 0;    // submitted and not yet through with our parts
  bool appending_ GUARDED_BY(mutex_) = false;  // who set it owns the members of the last group
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  Totals totals_ GUARDED_BY(mutex_);

  // Owned by whoever set appending_.
  std::optional<SegmentWriter> writer_;
  std::vector<ChunkIndex::Entry> appended_;  // new ones
  std::vector<ChunkIndex::Move> moved_;
  SegmentRecord delta_;  // what was appended since the last publish
};

}  // namespace stellarium::cas
