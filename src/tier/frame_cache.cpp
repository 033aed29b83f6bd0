#include "tier/frame_cache.h"

#include <vector>

namespace stellarium::tier {
namespace {

// What a frame costs in memory: its bytes, its table, and one hash-table node per chunk.
std::uint64_t weight_of(const cas::DecodedFrame& frame) {
  constexpr std::uint64_t kPerChunk = sizeof(cas::DecodedFrame::Entry) + 96;
  return frame.bytes.size() + frame.entries.size() * kPerChunk;
}

bool well_formed(const cas::DecodedFrame& frame) {
  for (const auto& entry : frame.entries) {
    if (entry.size == 0 || entry.offset > frame.bytes.size() || entry.size > frame.bytes.size() - entry.offset)
      return false;
  }
  return true;
}

}  // namespace

std::optional<FrameCache::Chunk> FrameCache::find(const cas::ChunkId& id) {
  Shard& shard = shard_of(id);
  const MutexLock lock{shard.mutex};
  const auto slot = shard.slots.find(id);
  if (slot == shard.slots.end()) return std::nullopt;
  slot->second.node->touch();
  hits_.fetch_add(1, std::memory_order_relaxed);
  return chunk_of(slot->second);
}

Result<FrameCache::Chunk> FrameCache::get(const cas::ChunkId& id) {
  Shard& shard = shard_of(id);
  std::shared_ptr<Flight> flight;
  bool first = false;
  {
    MutexLock lock{shard.mutex};
    if (const auto slot = shard.slots.find(id); slot != shard.slots.end()) {
      slot->second.node->touch();
      hits_.fetch_add(1, std::memory_order_relaxed);
      return chunk_of(slot->second);
    }
    auto& pending = shard.flights[id];
    first = pending == nullptr;
    if (first) pending = std::make_shared<Flight>();
    flight = pending;
    while (!first && !flight->landed) lock.wait(shard.landed);
  }
  if (first) {
    misses_.fetch_add(1, std::memory_order_relaxed);
    Result<FramePtr> fetched = fetch(id);
    if (fetched) keep(*fetched);
    const MutexLock lock{shard.mutex};
    flight->result = std::move(fetched);
    flight->landed = true;
    shard.flights.erase(id);
    shard.landed.notify_all();
  }
  // Landed flights do not change any more, so they are read without the lock.
  const Result<FramePtr>& result = *flight->result;
  if (!result) return fail(result.error());
  return Chunk{*result, (*result)->find(id)};
}

Result<FrameCache::FramePtr> FrameCache::fetch(const cas::ChunkId& id) {
  Result<FramePtr> frame = source_.fetch(id);
  if (!frame) return frame;
  if (!*frame || (*frame)->find(id) == nullptr || !well_formed(**frame)) {
    return fail(Errc::corrupt, "chunk " + id.hex() + ": its source delivered a frame without it");
  }
  return frame;
}

void FrameCache::keep(const FramePtr& frame) {
  const auto node = std::make_shared<Order::Node>(frame->entries.front().id, frame, weight_of(*frame));
  // Slots first: from the moment the order knows the node it may be evicted, and then finds all its slots to drop.
  for (std::uint32_t i = 0; i < frame->entries.size(); ++i) {
    Shard& shard = shard_of(frame->entries[i].id);
    const MutexLock lock{shard.mutex};
    shard.slots.insert_or_assign(frame->entries[i].id, Slot{node, i});
  }
  std::vector<Order::NodePtr> victims;
  {
    const MutexLock lock{order_mutex_};
    order_.insert(node);
    while (order_.over_budget()) victims.push_back(order_.evict_one());
  }
  for (const auto& victim : victims) drop(victim);
}

void FrameCache::drop(const Order::NodePtr& victim) {
  for (const auto& entry : victim->value->entries) {
    Shard& shard = shard_of(entry.id);
    const MutexLock lock{shard.mutex};
    const auto slot = shard.slots.find(entry.id);
    // A chunk can be in two frames (a store that was recompressed); the slot may be the other one's by now.
    if (slot != shard.slots.end() && slot->second.node == victim) shard.slots.erase(slot);
  }
}

FrameCache::Stats FrameCache::stats() {
  const MutexLock lock{order_mutex_};
  return {order_.bytes(), order_.budget(), hits_.load(std::memory_order_relaxed),
          misses_.load(std::memory_order_relaxed)};
}

}  // namespace stellarium::tier
