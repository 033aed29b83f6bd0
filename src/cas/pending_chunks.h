#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <unordered_map>

#include "base/mutex.h"
#include "cas/hash.h"

namespace stellarium::cas {

class FramePipeline;

/// Chunks on their way to disk: not in the index yet, but some pipeline has taken them. So no chunk is stored twice,
/// and who meets a chunk of another pipeline knows whom to ask to make it durable.
///
/// Threads: all functions may be called concurrently.
class PendingChunks {
 public:
  using Owner = std::shared_ptr<FramePipeline>;

  /// Makes `claimant` the owner of `id` and returns null, or returns who owns it already (which may be the claimant).
  Owner claim(const ChunkId& id, const Owner& claimant);
  /// The owner, or null.
  Owner find(const ChunkId& id);
  /// Gives up those of `ids` that `owner` has.
  void release(std::span<const ChunkId> ids, const FramePipeline& owner);
  /// Grows with every release: if it did not change between a look-up in the index that missed and a claim that was
  /// granted, the chunk cannot have entered the index in between.
  std::uint64_t releases() const { return releases_.load(); }

 private:
  struct Shard {
    Mutex mutex;
    std::unordered_map<ChunkId, Owner, HashOfHash> owners GUARDED_BY(mutex);
  };
  Shard& shard_of(const ChunkId& id) { return shards_[std::to_integer<std::size_t>(id.bytes[31]) % shards_.size()]; }

  std::array<Shard, 16> shards_;
  std::atomic<std::uint64_t> releases_ = 0;
};

}  // namespace stellarium::cas
