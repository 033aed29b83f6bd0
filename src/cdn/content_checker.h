#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "cas/content_store.h"
#include "cas/hash.h"
#include "cas/recipe.h"

namespace stellarium::cdn {

/// Compares contents of several chunks with their ids while their chunks arrive, and gives their chunk lists to the
/// session once they are right: an index that nobody vouches for could put true chunks together to a wrong file.
///
/// Order:   contents are looked at in the order of `recipes`; a chunk that is neither under way nor among the last that
///          came is read back from the store.
/// Memory:  the last 48 MiB of decoded frames.
/// Errors:  corrupt (an untrue chunk list, with the content's id); those of the store.
/// Threads: one at a time.
class ContentChecker {
 public:
  /// `missing`: chunks that will come. All are borrowed but these.
  ContentChecker(cas::ContentStore& store, cas::WriteSession& session, const std::vector<cas::Recipe>& recipes,
                 std::unordered_set<cas::ChunkId, cas::HashOfHash> missing);

  /// A frame that the session has taken already.
  [[nodiscard]] Result<void> take(const std::shared_ptr<const cas::DecodedFrame>& frame);
  /// Everything has come. Errors: not_found (a chunk has not).
  [[nodiscard]] Result<void> finish();

 private:
  using FramePtr = std::shared_ptr<const cas::DecodedFrame>;
  /// As far as the chunks that are here lead.
  Result<void> advance();
  /// Hashes the chunk that is next of the content; false if it is still to come.
  Result<bool> hash_next(const cas::Recipe::Entry& entry);
  Result<FramePtr> read_back(const cas::ChunkId& id);
  void remember(const FramePtr& frame);

  cas::ContentStore& store_;
  cas::WriteSession& session_;
  const std::vector<cas::Recipe>& recipes_;
  std::unordered_set<cas::ChunkId, cas::HashOfHash> missing_;
  std::size_t content_ = 0, entry_ = 0;  // what is hashed next
  cas::Hasher hasher_;
  std::deque<FramePtr> recent_;
  std::uint64_t recent_bytes_ = 0;
  std::unordered_map<cas::ChunkId, FramePtr, cas::HashOfHash> frames_;  // of recent_
};

}  // namespace stellarium::cdn
