#include "cas/families.h"
#include "cas/live_set.h"
#include "cas/store_parts.h"

// Two phases, each of which may be the last thing before a crash:
//   mark:  the roots are read, then each recipe once, in the order of the database, however many inodes and images have
//          its content; recipes and index entries that nothing needs are forgotten, and that is synced;
//   sweep: containers to which no index entry points any more are freed, wholly dead segments removed.
// Sessions go on meanwhile (session_guards.h says why that is safe); segments that they append to are left alone.
// Memory: 8 to 16 bytes per live content and chunk (live_set.h).
namespace stellarium::cas {
namespace {

constexpr std::size_t kBatch = 512;  // ids forgotten at once: sessions wait for that long

class Collector {
 public:
  Collector(StoreParts& parts, bool dry_run, const ContentStore::Progress& progress)
      : parts_{parts}, dry_run_{dry_run}, progress_{progress}, collection_{parts.guards} {}

  Result<void> mark(const ContentStore::LiveContents& live, bool allow_empty);
  Result<void> sort_recipes(const ContentStore::LiveContents& live);
  Result<void> forget_chunks();
  Result<void> sweep();
  const ContentStore::GcReport& report() const { return report_; }

 private:
  Result<void> name_missing_recipe(const ContentStore::LiveContents& live) const;
  Result<void> keep_recipe(const std::vector<std::string>& pages);
  Result<void> forget_recipe(const ContentId& content);
  Result<void> forget(std::vector<ChunkIndex::Entry>& batch);
  Result<void> sweep_segment(const SegmentSet::Hold& hold, std::vector<SegmentEntry>& dead, bool& any_live);
  Result<void> go_on(std::uint64_t done, std::uint64_t total) const {
    if (progress_ && !progress_(done, total)) return fail(Errc::cancelled, "collecting garbage: stopped on request");
    return {};
  }

  StoreParts& parts_;
  const bool dry_run_;
  const ContentStore::Progress& progress_;
  SessionGuards::Collection collection_;  // from before the roots are read until the end
  LiveSet contents_;                      // those that have a recipe
  LiveSet chunks_;
  ContentStore::GcReport report_;
};

Result<void> Collector::mark(const ContentStore::LiveContents& live, bool allow_empty) {
  bool any = false;
  auto all = live([&](const ContentStore::LiveContent& content) {
    any = true;
    (content.size <= kMaxChunk ? chunks_ : contents_).add(content.id);
  });
  if (!all) return fail(std::move(all).error(), "reading the roots");
  contents_.seal();
  if (any || allow_empty) return {};
  const auto chunk = parts_.index.walk().next();
  if (!chunk) return fail(chunk.error());
  if (!*chunk) return {};
  return fail(Errc::invalid_argument, "no content is in use, but the store has chunks: nothing was deleted");
}

Result<void> Collector::keep_recipe(const std::vector<std::string>& pages) {
  const auto recipe = decode_recipe(pages);
  if (!recipe) return fail(recipe.error());
  for (const Recipe::Entry& entry : recipe->entries) chunks_.add(entry.id);
  for (const std::string& page : pages) chunks_.add(hash_of(as_bytes(page)));
  return {};
}

Result<void> Collector::sort_recipes(const ContentStore::LiveContents& live) {
  std::vector<ContentId> dead;
  std::size_t found = 0;
  const auto cursor = parts_.database.scan(kRecipeFamily, {}, {});
  while (cursor->valid()) {
    const auto content = Hash::from_bytes(as_bytes(cursor->key().substr(0, Hash::kSize)));
    if (!content) return fail(Errc::corrupt, "the recipe family has a malformed key");
    const bool needed = contents_.contains(*content);
    std::vector<std::string> pages;
    for (; cursor->valid() && cursor->key().starts_with(content->text()); cursor->next())
      if (needed) pages.emplace_back(cursor->value());
    if (!needed) {
      dead.push_back(*content);
      continue;
    }
    ++found;
    if (auto ok = keep_recipe(pages); !ok) return ok;
    if (auto ok = go_on(0, 0); !ok) return ok;
  }
  if (auto ok = cursor->status(); !ok) return ok;
  // Which chunks a content without a recipe needs is unknown, so nothing can be known to be garbage.
  if (found < contents_.size()) return name_missing_recipe(live);
  for (const ContentId& content : dead)
    if (auto ok = forget_recipe(content); !ok) return ok;
  chunks_.seal();
  return {};
}

Result<void> Collector::name_missing_recipe(const ContentStore::LiveContents& live) const {
  Result<void> named = fail(Errc::corrupt, "a content has no recipe; run fsck");
  bool searching = true;
  auto all = live([&](const ContentStore::LiveContent& content) {
    if (!searching || content.size <= kMaxChunk) return;
    const auto pages = recipe_pages(parts_.database, content.id);
    searching = pages && !pages->empty();
    if (!searching) named = fail(Errc::corrupt, "content " + content.id.hex() + " has no recipe; run fsck");
  });
  return all ? named : all;
}

Result<void> Collector::forget_recipe(const ContentId& content) {
  const auto pages = recipe_pages(parts_.database, content);
  if (!pages) return fail(pages.error());
  bool kept = false;
  auto ok = collection_.unless_touched(std::span{&content, 1},
                                       [&](const std::vector<std::size_t>& untouched) -> Result<void> {
                                         kept = untouched.empty();
                                         if (kept || dry_run_) return {};
                                         Database::Batch batch;
                                         for (std::uint32_t page = 0; page < pages->size(); ++page)
                                           batch.erase(kRecipeFamily, recipe_page_key(content, page));
                                         return parts_.database.write(std::move(batch), Database::Sync::no);
                                       });
  if (ok && kept) return keep_recipe(*pages);
  return ok;
}

Result<void> Collector::forget_chunks() {
  std::vector<ChunkIndex::Entry> batch;
  ChunkIndex::Walk walk = parts_.index.walk();
  for (;;) {
    const auto entry = walk.next();
    if (!entry) return fail(entry.error());
    if (!*entry) break;
    if (chunks_.contains((*entry)->id))
      ++report_.live_chunks;
    else
      batch.push_back(**entry);
    if (batch.size() < kBatch) continue;
    if (auto ok = forget(batch); !ok) return ok;
    if (auto ok = go_on(0, 0); !ok) return ok;
  }
  if (auto ok = forget(batch); !ok) return ok;
  // What is swept next must not come back to the index with the next start.
  return dry_run_ ? Result<void>{} : parts_.database.sync();
}

Result<void> Collector::forget(std::vector<ChunkIndex::Entry>& batch) {
  std::vector<Hash> ids;
  for (const ChunkIndex::Entry& entry : batch) ids.push_back(entry.id);
  auto ok = collection_.unless_touched(ids, [&](const std::vector<std::size_t>& untouched) -> Result<void> {
    std::vector<ChunkIndex::Entry> dead;
    for (const std::size_t at : untouched) dead.push_back(batch[at]);
    report_.live_chunks += batch.size() - dead.size();
    report_.dead_chunks += dead.size();
    for (const ChunkIndex::Entry& entry : dead) report_.dead_bytes += entry.at.size;
    if (dry_run_) return {};
    if (const auto erased = parts_.index.erase(dead); !erased) return fail(erased.error());
    return {};
  });
  batch.clear();
  return ok;
}

Result<void> Collector::sweep() {
  const auto segments = parts_.segments->table().all();
  std::uint64_t done = 0;
  for (const auto& [number, record] : segments) {
    if (auto ok = go_on(done++, segments.size()); !ok) return ok;
    auto hold = parts_.segments->hold(number);
    if (!hold) continue;
    std::vector<SegmentEntry> dead;
    bool any_live = false;
    const auto ok = sweep_segment(*hold, dead, any_live);
    if (!ok && ok.error().code == Errc::io) return ok;
    if (!ok) continue;  // a damaged segment is fsck's business; not knowing what is in it means keeping it
    const auto freed = any_live ? parts_.segments->free(*hold, dead) : parts_.segments->remove(*std::move(hold));
    if (!freed) return fail(freed.error());
    report_.freed_bytes += *freed;
    if (!any_live) ++report_.segments_removed;
  }
  return {};
}

Result<void> Collector::sweep_segment(const SegmentSet::Hold& hold, std::vector<SegmentEntry>& dead, bool& any_live) {
  const auto containers = parts_.segments->containers(hold.number());
  if (!containers) return fail(containers.error());
  const auto reader = parts_.segments->reader(hold.number());
  if (!reader) return fail(reader.error());
  for (const SegmentEntry& container : *containers) {
    const auto index = (*reader)->read_index(container.offset);
    if (!index) return fail(index.error());
    if (index->header.kind == FrameKind::freed) continue;
    bool live = false;
    for (const DecodedFrame::Entry& entry : index->entries) {
      const auto here = parts_.index.points_to(entry.id, {hold.number(), container.offset, entry.offset, entry.size});
      if (!here) return fail(here.error());
      if ((live = *here)) break;
    }
    any_live = any_live || live;
    if (!live) dead.push_back(container);
  }
  return {};
}

}  // namespace

Result<ContentStore::GcReport> collect_garbage(StoreParts& parts, const ContentStore::LiveContents& live, bool dry_run,
                                               bool allow_empty, const ContentStore::Progress& progress) {
  Collector collector{parts, dry_run, progress};
  if (auto ok = collector.mark(live, allow_empty); !ok) return fail(std::move(ok).error());
  if (auto ok = collector.sort_recipes(live); !ok) return fail(std::move(ok).error());
  if (auto ok = collector.forget_chunks(); !ok) return fail(std::move(ok).error());
  if (!dry_run)
    if (auto ok = collector.sweep(); !ok) return fail(std::move(ok).error());
  return collector.report();
}

}  // namespace stellarium::cas
