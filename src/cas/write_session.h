#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <unordered_set>
#include <vector>

#include "cas/chunker.h"
#include "cas/content_store.h"
#include "cas/frame_pipeline.h"
#include "cas/recipe.h"
#include "cas/session_guards.h"
#include "cas/store_parts.h"

namespace stellarium::cas {

/// Contents up to this size are hashed as a whole before anything else, so that a known one is never cut; but from a
/// source that asked first (WriteSession::knows), what comes is new, and gathering it would be one copy too many.
inline constexpr std::size_t kDedupBeforeCutting = 4u << 20;

/// One session: looks ids up, sends what is new down its own pipeline, gathers recipes until the next commit.
class StoreSession final : public WriteSession {
 public:
  explicit StoreSession(StoreParts& parts);
  ~StoreSession() override;

  std::unique_ptr<ContentWriter> begin(Placement placement) override;
  Result<bool> knows(const ContentId& content, std::uint64_t size) override;
  Result<bool> adopt(const ContentId& content, std::uint64_t size) override;
  Result<void> add_frame(ByteSpan container, const DecodedFrame& frame) override;
  Result<void> add_recipe(const Recipe& recipe) override;
  Result<void> commit() override;
  void begin_commit() override;
  Totals totals() const override;

  // For the session's content writers.

  /// Makes sure that the chunk is in the store, or on its way.
  Result<void> store(FramePipeline::Lane lane, const ChunkId& id, ByteSpan data);
  Result<void> store(const Recipe& recipe);
  /// Counts `size` content bytes as offered; with `chunks_known`, as found present.
  void count(std::uint64_t size, std::uint64_t chunks_known = 0);
  /// A buffer that contents share one after another, so that its pages are touched once.
  std::vector<std::byte>& buffer() { return buffer_; }
  /// `knows`, for a content that came as data.
  Result<bool> has(const ContentId& content, std::uint64_t size);
  std::size_t dedup_before_cutting() const { return asked_ ? kMaxChunk : kDedupBeforeCutting; }

 private:
  /// Whether the chunk is in the index, or pending in some pipeline, which then is remembered.
  Result<bool> knows_chunk(const ChunkId& id);
  /// The same; if not, this session's pipeline owns it now and has to store it.
  Result<bool> knows_or_claims(const ChunkId& id);
  /// Whether the index knows the chunk, and it is not one that is damaged there.
  Result<bool> is_indexed(const ChunkId& id);
  void depend_on(const PendingChunks::Owner& owner);

  StoreParts& parts_;
  std::unique_ptr<SessionGuards::Guard> guard_;
  std::shared_ptr<FramePipeline> pipeline_;
  std::vector<PendingChunks::Owner> others_;  // pipelines that carry chunks we need
  Database::Batch recipes_;
  std::unordered_set<ContentId, HashOfHash> uncommitted_;  // contents whose recipe is in recipes_
  std::vector<std::byte> buffer_;
  bool asked_ = false;  // by `knows`
  Totals totals_;
  std::thread early_commit_;
};

/// Cuts, hashes and stores one content.
class SessionContentWriter final : public ContentWriter {
 public:
  SessionContentWriter(StoreSession& session, Placement placement);

  Result<void> append(ByteSpan data) override;
  Result<void> append_zeros(std::uint64_t count) override;
  Result<ContentId> finish() override;
  Result<ContentId> finish(ByteSpan last) override;

 private:
  /// Nothing was cut yet: `content` is all of it.
  Result<ContentId> finish_whole(ByteSpan content);
  Result<ContentId> finish_one_chunk(ByteSpan content);
  Result<ContentId> finish_chunks();
  Result<void> begin_streaming();
  Result<void> cut(ByteSpan data);
  Result<void> cut_zeros(std::uint64_t count);
  Result<void> end_chunk(ByteSpan chunk);

  StoreSession& session_;
  const Placement placement_;
  std::vector<std::byte>& buffer_;  // the content so far; when streaming, the chunk that is still open
  const std::size_t most_buffered_;
  bool streaming_ = false;
  std::uint64_t size_ = 0;
  Hasher whole_;
  Chunker chunker_;
  Recipe recipe_;
  std::optional<ChunkId> zero_chunk_;  // id of a chunk of kMaxChunk zeros, once met
};

}  // namespace stellarium::cas
