#include "cas/pending_chunks.h"

namespace stellarium::cas {

PendingChunks::Owner PendingChunks::claim(const ChunkId& id, const Owner& claimant) {
  Shard& shard = shard_of(id);
  MutexLock lock{shard.mutex};
  const auto [entry, granted] = shard.owners.try_emplace(id, claimant);
  return granted ? nullptr : entry->second;
}

PendingChunks::Owner PendingChunks::find(const ChunkId& id) {
  Shard& shard = shard_of(id);
  MutexLock lock{shard.mutex};
  const auto found = shard.owners.find(id);
  return found == shard.owners.end() ? nullptr : found->second;
}

void PendingChunks::release(std::span<const ChunkId> ids, const FramePipeline& owner) {
  for (const ChunkId& id : ids) {
    Shard& shard = shard_of(id);
    MutexLock lock{shard.mutex};
    const auto found = shard.owners.find(id);
    if (found == shard.owners.end() || found->second.get() != &owner) continue;
    shard.owners.erase(found);
    ++releases_;  // under the lock: whoever is granted this id next sees it
  }
}

}  // namespace stellarium::cas
