#include "cas/write_session.h"

#include <algorithm>

#include "cas/families.h"

namespace stellarium::cas {
namespace {

// Recipes wait in memory for their chunks to be durable; a session of any length commits by itself when they get many.
constexpr std::size_t kMaxRecipeBytes = 4u << 20;

}  // namespace

StoreSession::StoreSession(StoreParts& parts)
    : parts_{parts},
      guard_{parts.guards.begin()},
      pipeline_{std::make_shared<FramePipeline>(parts.pipeline(parts.compressor))} {}

StoreSession::~StoreSession() {
  if (early_commit_.joinable()) early_commit_.join();
  pipeline_->close();
}

std::unique_ptr<ContentWriter> StoreSession::begin(Placement placement) {
  return std::make_unique<SessionContentWriter>(*this, placement);
}

void StoreSession::depend_on(const PendingChunks::Owner& owner) {
  if (owner != pipeline_ && std::ranges::find(others_, owner) == others_.end()) others_.push_back(owner);
}

Result<bool> StoreSession::knows_chunk(const ChunkId& id) {
  guard_->touch(id);
  if (const auto owner = parts_.pending.find(id)) {
    depend_on(owner);
    return true;
  }
  // Asked after the pending table: a chunk leaves that one only once it is here.
  return is_indexed(id);
}

Result<bool> StoreSession::is_indexed(const ChunkId& id) {
  const auto found = parts_.index.contains(id);
  if (!found || !*found || !parts_.distrusted.contains(id)) return found;
  const auto healed = can_deliver(parts_, id);  // by another session
  if (healed && *healed) parts_.distrusted.remove(id);
  return healed;
}

Result<bool> StoreSession::knows_or_claims(const ChunkId& id) {
  guard_->touch(id);
  const std::uint64_t releases = parts_.pending.releases();
  auto found = is_indexed(id);
  if (!found || *found) return found;
  if (const auto owner = parts_.pending.claim(id, pipeline_)) {
    depend_on(owner);
    return true;
  }
  if (parts_.pending.releases() == releases) return false;
  // It may have become durable between look-up and claim.
  found = is_indexed(id);
  if (!found || *found) parts_.pending.release(std::span{&id, 1}, *pipeline_);
  return found;
}

Result<void> StoreSession::store(FramePipeline::Lane lane, const ChunkId& id, ByteSpan data) {
  const auto known = knows_or_claims(id);
  if (!known) return fail(known.error());
  if (*known) {
    ++totals_.chunks_known;
    return {};
  }
  ++totals_.chunks_new;
  totals_.bytes_new += data.size();
  return pipeline_->add(lane, id, data);
}

Result<void> StoreSession::store(const Recipe& recipe) {
  const Totals before = totals_;
  std::uint32_t number = 0;
  for (const std::string& page : encode_recipe(recipe)) {
    if (auto ok = store(FramePipeline::Lane::recipes, hash_of(as_bytes(page)), as_bytes(page)); !ok) return ok;
    recipes_.put(kRecipeFamily, recipe_page_key(recipe.content, number++), page);
  }
  totals_ = before;  // recipes are not content
  uncommitted_.insert(recipe.content);
  if (recipes_.bytes() > kMaxRecipeBytes) return commit();
  return {};
}

Result<void> StoreSession::add_frame(ByteSpan container, const DecodedFrame& frame) {
  const auto header = parse_frame_header(container);
  if (!header) return fail(header.error());
  if (header->kind != FrameKind::chunks && header->kind != FrameKind::pack)
    return fail(Errc::invalid_argument, "a container that holds no chunks of contents");
  std::vector<const DecodedFrame::Entry*> fresh;
  for (const DecodedFrame::Entry& entry : frame.entries) {
    const auto known = knows_or_claims(entry.id);
    if (!known) return fail(known.error());
    totals_.bytes_in += entry.size;
    ++(*known ? totals_.chunks_known : totals_.chunks_new);
    if (!*known) fresh.push_back(&entry), totals_.bytes_new += entry.size;
  }
  if (fresh.size() == frame.entries.size()) return pipeline_->add_container(container, frame.entries);
  for (const DecodedFrame::Entry* const entry : fresh)
    if (auto ok = pipeline_->add(FramePipeline::Lane::frames, entry->id, frame.data(*entry)); !ok) return ok;
  return {};
}

Result<void> StoreSession::add_recipe(const Recipe& recipe) {
  for (const Recipe::Entry& entry : recipe.entries) {
    const auto known = knows_chunk(entry.id);
    if (!known) return fail(known.error());
    if (!*known)
      return fail(Errc::not_found, "chunk " + entry.id.hex() + " of content " + recipe.content.hex() + " is missing");
  }
  return store(recipe);
}

Result<bool> StoreSession::knows(const ContentId& content, std::uint64_t size) {
  asked_ = true;
  return has(content, size);
}

Result<bool> StoreSession::has(const ContentId& content, std::uint64_t size) {
  if (size == 0) return true;
  if (size <= kMaxChunk) return knows_chunk(content);
  guard_->touch(content);  // keeps the recipe, and with it all chunks
  if (uncommitted_.contains(content)) return true;
  const auto first_page = parts_.database.get(kRecipeFamily, recipe_page_key(content, 0));
  if (!first_page) return fail(first_page.error());
  if (!*first_page || !parts_.distrusted.any()) return first_page->has_value();
  const auto pages = recipe_pages(parts_.database, content);
  const auto recipe = pages ? decode_recipe(*pages) : Result<Recipe>{fail(pages.error())};
  if (!recipe) return false;  // it is stored once more, then
  for (const Recipe::Entry& entry : recipe->entries) {
    const auto there = is_indexed(entry.id);
    if (!there || !*there) return there;
  }
  return true;
}

Result<bool> StoreSession::adopt(const ContentId& content, std::uint64_t size) {
  const auto known = has(content, size);
  if (known && *known) count(size, 1);
  return known;
}

void StoreSession::count(std::uint64_t size, std::uint64_t chunks_known) {
  totals_.bytes_in += size;
  totals_.chunks_known += chunks_known;
}

void StoreSession::begin_commit() {
  if (early_commit_.joinable()) early_commit_.join();
  // Not on the store's workers: it waits for them.
  early_commit_ = std::thread{[this] { (void)pipeline_->make_durable(); }};  // a failure stays with the pipeline
}

Result<void> StoreSession::commit() {
  if (auto ok = pipeline_->make_durable(); !ok) return fail(std::move(ok).error(), "storing new chunks");
  for (const auto& other : others_)
    if (auto ok = other->make_durable(); !ok)
      return fail(std::move(ok).error(), "storing chunks shared with another import");
  others_.clear();
  // After the chunks in the log, so that no crash leaves a recipe without them.
  if (auto ok = parts_.database.write(std::exchange(recipes_, {}), Database::Sync::no); !ok) return ok;
  uncommitted_.clear();
  return {};
}

WriteSession::Totals StoreSession::totals() const {
  Totals totals = totals_;
  totals.bytes_stored = pipeline_->totals().bytes_stored;
  return totals;
}

std::unique_ptr<WriteSession> make_session(StoreParts& parts) {
  return std::make_unique<StoreSession>(parts);
}

}  // namespace stellarium::cas
