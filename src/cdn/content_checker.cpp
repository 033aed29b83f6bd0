#include "cdn/content_checker.h"

namespace stellarium::cdn {
namespace {

constexpr std::uint64_t kRecent = 48u << 20;  // bytes

}  // namespace

ContentChecker::ContentChecker(cas::ContentStore& store, cas::WriteSession& session,
                               const std::vector<cas::Recipe>& recipes,
                               std::unordered_set<cas::ChunkId, cas::HashOfHash> missing)
    : store_{store}, session_{session}, recipes_{recipes}, missing_{std::move(missing)} {}

Result<void> ContentChecker::take(const FramePtr& frame) {
  for (const cas::DecodedFrame::Entry& entry : frame->entries) missing_.erase(entry.id);
  remember(frame);
  return advance();
}

Result<void> ContentChecker::finish() {
  missing_.clear();
  return advance();
}

void ContentChecker::remember(const FramePtr& frame) {
  recent_.push_back(frame);
  recent_bytes_ += frame->bytes.size();
  for (const cas::DecodedFrame::Entry& entry : frame->entries) frames_[entry.id] = frame;
  while (recent_bytes_ > kRecent && recent_.size() > 1) {
    const FramePtr oldest = std::move(recent_.front());
    recent_.pop_front();
    recent_bytes_ -= oldest->bytes.size();
    for (const cas::DecodedFrame::Entry& entry : oldest->entries)
      if (const auto at = frames_.find(entry.id); at != frames_.end() && at->second == oldest) frames_.erase(at);
  }
}

Result<ContentChecker::FramePtr> ContentChecker::read_back(const cas::ChunkId& id) {
  auto frame = store_.fetch(id);
  if (!frame && frame.error().code == Errc::not_found) {  // taken, and not on disk yet
    if (auto committed = session_.commit(); !committed) return fail(committed.error());
    frame = store_.fetch(id);
  }
  if (frame) remember(*frame);
  return frame;
}

Result<bool> ContentChecker::hash_next(const cas::Recipe::Entry& entry) {
  FramePtr frame;
  if (const auto found = frames_.find(entry.id); found != frames_.end()) {
    frame = found->second;
  } else if (missing_.contains(entry.id)) {
    return false;
  } else {
    auto read = read_back(entry.id);
    if (!read) return fail(std::move(read).error());
    frame = *std::move(read);
  }
  const cas::DecodedFrame::Entry* const chunk = frame->find(entry.id);
  if (chunk == nullptr || chunk->size != entry.size)
    return fail(Errc::corrupt, "chunk " + entry.id.hex() + " has another size than its chunk list says");
  const ByteSpan data = frame->data(*chunk);
  for (std::uint32_t times = 0; times < entry.repeat; ++times) {
    if (all_zero(data)) {
      hasher_.update_zeros(std::uint64_t{entry.size} * (entry.repeat - times));
      break;
    }
    hasher_.update(data);
  }
  return true;
}

Result<void> ContentChecker::advance() {
  for (; content_ < recipes_.size(); ++content_) {
    const cas::Recipe& recipe = recipes_[content_];
    if (entry_ == 0) {
      hasher_.reset();
      const auto known = session_.knows(recipe.content, recipe.size);
      if (!known) return fail(known.error());
      if (*known) continue;
    }
    for (; entry_ < recipe.entries.size(); ++entry_) {
      const auto hashed = hash_next(recipe.entries[entry_]);
      if (!hashed) return fail(hashed.error(), "content " + recipe.content.hex());
      if (!*hashed) return {};
    }
    if (hasher_.finish() != recipe.content)
      return fail(Errc::corrupt, "the index puts content " + recipe.content.hex() + " together from other chunks");
    if (auto added = session_.add_recipe(recipe); !added) return added;
    entry_ = 0;
  }
  return {};
}

}  // namespace stellarium::cdn
