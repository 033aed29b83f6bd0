#pragma once
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/mutex.h"
#include "base/result.h"
#include "cas/chunk_source.h"
#include "cas/hash.h"
#include "tier/s3_fifo.h"

namespace stellarium::tier {

/// Decoded frames in memory, found by any chunk in them.
///
/// A miss fetches the frame from the source once, however many threads ask for the chunk, and makes every chunk of it
/// present: neighbours in a frame are mostly wanted together (files of a pack, the next pages of a library).
/// Memory:  frames and their tables, at most `budget` bytes beyond the frames that readers hold at the moment.
/// Threads: all functions may be called concurrently; a hit takes one shard's lock for a hash look-up.
/// Errors:  those of the source; corrupt if it delivers a frame that does not hold the chunk.
class FrameCache {
 public:
  FrameCache(cas::ChunkSource& source, std::uint64_t budget) : source_{source}, order_{budget} {}

  /// One chunk inside a frame that stays while this lives.
  struct Chunk {
    std::shared_ptr<const cas::DecodedFrame> frame;
    const cas::DecodedFrame::Entry* entry;
    ByteSpan data() const { return frame->data(*entry); }
  };
  Result<Chunk> get(const cas::ChunkId& id);
  std::optional<Chunk> find(const cas::ChunkId& id);  ///< only what is in memory

  struct Stats {
    std::uint64_t bytes, budget, hits, misses;
  };
  Stats stats();

 private:
  using FramePtr = std::shared_ptr<const cas::DecodedFrame>;
  using Order = S3Fifo<cas::ChunkId, FramePtr, cas::HashOfHash>;
  /// A fetch in progress, which other threads wait for instead of fetching too.
  struct Flight {
    bool landed = false;
    std::optional<Result<FramePtr>> result;
  };
  struct Slot {
    Order::NodePtr node;
    std::uint32_t entry;
  };
  struct Shard {
    Mutex mutex;
    std::condition_variable landed;
    std::unordered_map<cas::ChunkId, Slot, cas::HashOfHash> slots GUARDED_BY(mutex);
    std::unordered_map<cas::ChunkId, std::shared_ptr<Flight>, cas::HashOfHash> flights GUARDED_BY(mutex);
  };
  static constexpr std::size_t kShards = 16;

  Shard& shard_of(const cas::ChunkId& id) { return shards_[std::to_integer<std::size_t>(id.bytes[31]) % kShards]; }
  static Chunk chunk_of(const Slot& slot) { return {slot.node->value, &slot.node->value->entries[slot.entry]}; }
  Result<FramePtr> fetch(const cas::ChunkId& id);
  void keep(const FramePtr& frame);
  void drop(const Order::NodePtr& victim);

  cas::ChunkSource& source_;
  std::array<Shard, kShards> shards_;
  Mutex order_mutex_;  // never held together with a shard's
  Order order_ GUARDED_BY(order_mutex_);
  std::atomic<std::uint64_t> hits_{0}, misses_{0};
};

}  // namespace stellarium::tier
