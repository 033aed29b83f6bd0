#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "cas/content_store.h"
#include "support/random_bytes.h"
#include "tier/tier.h"

namespace stellarium::tier::testing {

using test::random_bytes;
using test::same_bytes;

/// A content store in memory that counts what is fetched from it and can be told to misbehave. Only what a tier reads.
class MemoryStore final : public cas::ContentStore {
 public:
  explicit MemoryStore(std::size_t chunk_size = 32u << 10, std::size_t chunks_per_frame = 8)
      : chunk_size_{chunk_size}, chunks_per_frame_{chunks_per_frame} {}

  /// Cuts the content into chunks of a fixed size and puts its new chunks into frames of its own.
  ContentRef add(ByteSpan content) {
    cas::Recipe recipe{cas::hash_of(content), content.size(), {}};
    const std::size_t step = content.size() <= cas::kMaxChunk ? cas::kMaxChunk : chunk_size_;
    auto frame = std::make_shared<Frame>();
    for (std::size_t at = 0; at < content.size(); at += step) {
      const ByteSpan chunk = content.subspan(at, std::min(step, content.size() - at));
      const cas::ChunkId id = cas::hash_of(chunk);
      auto& entries = recipe.entries;
      if (!entries.empty() && entries.back().id == id) {
        ++entries.back().repeat;
      } else {
        entries.push_back({id, static_cast<std::uint32_t>(chunk.size()), 1});
      }
      if (chunks_.contains(id)) continue;
      if (frame->entries.size() == chunks_per_frame_) frame = std::make_shared<Frame>();
      append(*frame, id, chunk);
      chunks_[id] = frame;
    }
    recipes_.emplace(recipe.content, recipe);
    return {recipe.content, content.size()};
  }
  /// What is said to be `content` consists of the chunks of another one.
  void add_wrong_recipe(const cas::ContentId& content, const ContentRef& chunks_of) {
    cas::Recipe recipe = recipes_.at(chunks_of.id);
    recipe.content = content;
    recipes_.insert_or_assign(content, recipe);
  }
  /// Several small contents in one frame, as in a pack.
  std::vector<ContentRef> add_pack(const std::vector<std::vector<std::byte>>& contents) {
    auto frame = std::make_shared<Frame>();
    std::vector<ContentRef> refs;
    for (const auto& content : contents) {
      append(*frame, cas::hash_of(content), content);
      chunks_[frame->entries.back().id] = frame;
      refs.push_back({frame->entries.back().id, content.size()});
    }
    return refs;
  }

  Result<std::shared_ptr<const cas::DecodedFrame>> fetch(const cas::ChunkId& id) override {
    ++fetches;
    std::this_thread::sleep_for(delay + jitter * (std::to_integer<int>(id.bytes[0]) % 4));
    const auto found = chunks_.find(id);
    if (found == chunks_.end() || failing) return fail(Errc::not_found, "chunk " + id.hex() + ": not in this store");
    const Frame& kept = *found->second;
    auto frame =
        std::make_shared<cas::DecodedFrame>(cas::DecodedFrame{kept.entries, cas::FrameBuffer{kept.bytes.size()}});
    std::memcpy(frame->bytes.data(), kept.bytes.data(), kept.bytes.size());
    if (flip_bits) frame->bytes.data()[frame->find(id)->offset] ^= std::byte{1};
    return frame;
  }
  Result<cas::Recipe> recipe(const cas::ContentId& content, std::uint64_t size) override {
    const auto found = recipes_.find(content);
    if (found == recipes_.end() || found->second.size != size) return fail(Errc::not_found, "no recipe");
    return found->second;
  }
  Result<bool> has_chunk(const cas::ChunkId& id) override { return chunks_.contains(id); }
  Result<std::optional<std::uint32_t>> chunk_size(const cas::ChunkId& id) override {
    const auto found = chunks_.find(id);
    if (found == chunks_.end()) return std::nullopt;
    return std::ranges::find(found->second->entries, id, &cas::DecodedFrame::Entry::id)->size;
  }

  std::unique_ptr<cas::WriteSession> begin_session() override { return nullptr; }
  Result<GcReport> collect(const LiveContents&, bool, bool, const Progress&) override { return GcReport{}; }
  Result<RecompressReport> recompress(const LiveContents&, int, const Progress&) override { return RecompressReport{}; }
  Result<CheckReport> check(bool, const Progress&) override { return CheckReport{}; }
  Result<RepairReport> repair(std::span<const cas::ChunkId>, const Copies&, const Progress&) override {
    return RepairReport{};
  }
  Result<void> rebuild(const Progress&) override { return {}; }
  Stats stats() override { return {}; }
  Result<void> close() override { return {}; }
  void give_back_memory() override {}

  std::atomic<unsigned> fetches{0};
  std::atomic<bool> failing{false};
  std::atomic<bool> flip_bits{false};  ///< breaks the contract of ChunkSource: the chunk is not what its id says
  std::chrono::microseconds delay{0};
  std::chrono::microseconds jitter{0};  ///< up to three times this in addition, by the chunk's id

 private:
  struct Frame {
    std::vector<cas::DecodedFrame::Entry> entries;
    std::vector<std::byte> bytes;
  };
  static void append(Frame& frame, const cas::ChunkId& id, ByteSpan bytes) {
    frame.entries.push_back(
        {id, static_cast<std::uint32_t>(frame.bytes.size()), static_cast<std::uint32_t>(bytes.size())});
    frame.bytes.insert(frame.bytes.end(), bytes.begin(), bytes.end());
  }

  std::size_t chunk_size_, chunks_per_frame_;
  std::unordered_map<cas::ChunkId, std::shared_ptr<const Frame>, cas::HashOfHash> chunks_;
  std::unordered_map<cas::ContentId, cas::Recipe, cas::HashOfHash> recipes_;
};

}  // namespace stellarium::tier::testing
