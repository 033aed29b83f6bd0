#include <algorithm>
#include <map>
#include <unordered_map>

#include "cas/families.h"
#include "cas/store_parts.h"

namespace stellarium::cas {
namespace {

/// Compares what the index promises with what the segments hold.
///
/// Every segment is walked and its chunks are looked up; so each chunk that the index rightly finds is counted once.
/// Where a segment has fewer of those than the index has entries for it, its entries are looked at one by one.
class Checker {
 public:
  Checker(StoreParts& parts, bool deep, const ContentStore::Progress& progress)
      : parts_{parts}, deep_{deep}, progress_{progress} {}

  Result<ContentStore::CheckReport> run();

 private:
  Result<void> check_segment(std::uint32_t number, const SegmentRecord& record);
  Result<void> check_container(const SegmentReader& reader, const SegmentEntry& container);
  Result<void> count_index();
  Result<void> find_undeliverable();
  Result<void> check_recipes();
  void damage(std::string what, std::vector<ChunkId> chunks = {}) {
    report_.damage.push_back({std::move(what), std::move(chunks)});
  }

  StoreParts& parts_;
  const bool deep_;
  const ContentStore::Progress& progress_;
  ContentStore::CheckReport report_;
  std::unordered_map<std::uint32_t, std::uint64_t> promised_, delivered_;  // chunks per segment
  std::vector<std::byte> buffer_;
};

Result<ContentStore::CheckReport> Checker::run() {
  const auto unknown = parts_.segments->unknown_files();
  if (!unknown) return fail(unknown.error());
  for (const std::uint32_t number : *unknown)
    damage(segment_text(number) +
           ": the database does not know this file; it is older than the file, or was lost: run rebuild");

  const auto segments = parts_.segments->table().all();
  for (const auto& [number, record] : segments) {
    if (progress_ && !progress_(report_.segments, segments.size()))
      return fail(Errc::cancelled, "checking: stopped on request");
    if (auto ok = check_segment(number, record); !ok) return fail(std::move(ok).error());
    ++report_.segments;
  }
  if (auto ok = count_index(); !ok) return fail(std::move(ok).error());
  if (auto ok = find_undeliverable(); !ok) return fail(std::move(ok).error());
  if (auto ok = check_recipes(); !ok) return fail(std::move(ok).error());
  if (progress_) progress_(segments.size(), segments.size());
  return std::move(report_);
}

Result<void> Checker::check_segment(std::uint32_t number, const SegmentRecord& record) {
  if (record.durable_size == 0) return {};  // nothing was committed to it yet
  const auto reader = parts_.segments->reader(number);
  if (!reader) {
    if (reader.error().code == Errc::io) return fail(reader.error());
    damage(segment_text(number) + ": " + reader.error().context);
    return {};
  }
  auto walk = (*reader)->walk(record.durable_size);
  if (!walk) return fail(std::move(walk).error());
  if (walk->damage) damage(walk->damage->context);
  if (record.state == SegmentState::finished) {
    const auto footer = (*reader)->footer();
    if (!footer && footer.error().code == Errc::io) return fail(footer.error());
    if (!footer)
      damage(segment_text(number) + ": " + footer.error().context);
    else if (walk->damage)
      walk->entries = *footer;  // goes on behind the damage
    else if (!std::ranges::equal(*footer, walk->entries, {}, &SegmentEntry::offset, &SegmentEntry::offset))
      damage(segment_text(number) + ": the footer lists other containers than there are");
  }
  for (const SegmentEntry& container : walk->entries)
    if (auto ok = check_container(**reader, container); !ok) return ok;
  return {};
}

Result<void> Checker::check_container(const SegmentReader& reader, const SegmentEntry& container) {
  const auto index = reader.read_index(container.offset);
  if (!index && index.error().code == Errc::io) return fail(index.error());
  if (!index) {
    damage(index.error().context);
    return {};
  }
  if (index->header.kind == FrameKind::freed) return {};
  std::vector<ChunkId> here;
  for (const DecodedFrame::Entry& entry : index->entries) {
    const auto points = parts_.index.points_to(entry.id, {reader.number(), container.offset, entry.offset, entry.size});
    if (!points) return fail(points.error());
    if (*points) here.push_back(entry.id);
  }
  delivered_[reader.number()] += here.size();
  ++report_.frames;
  report_.chunks += here.size();
  report_.bytes += container.size;
  if (!deep_ || here.empty()) return {};
  const auto view = reader.read(container.offset, buffer_);
  if (!view && view.error().code == Errc::io) return fail(view.error());
  const auto frame = view ? decode_frame(*view, parts_.decompressor) : Result<DecodedFrame>{fail(view.error())};
  if (!frame)
    damage(
        segment_text(reader.number()) + " at byte " + std::to_string(container.offset) + ": " + frame.error().context,
        std::move(here));
  return {};
}

Result<void> Checker::count_index() {
  ChunkIndex::Walk walk = parts_.index.walk();
  for (;;) {
    const auto entry = walk.next();
    if (!entry) {
      damage(entry.error().context);
      return {};
    }
    if (!*entry) return {};
    ++promised_[(*entry)->at.segment];
  }
}

Result<void> Checker::find_undeliverable() {
  std::map<std::uint32_t, std::vector<ChunkId>> missing;
  for (const auto& [number, count] : promised_)
    if (delivered_[number] < count) missing[number];
  if (missing.empty()) return {};
  ChunkIndex::Walk walk = parts_.index.walk();
  for (;;) {
    const auto entry = walk.next();
    if (!entry || !*entry) break;  // reported by count_index
    const ChunkLocation& at = (*entry)->at;
    const auto in = missing.find(at.segment);
    if (in == missing.end()) continue;
    const auto reader = parts_.segments->reader(at.segment);
    const auto index = reader ? (*reader)->read_index(at.container) : Result<FrameIndex>{fail(reader.error())};
    const bool found = index && std::ranges::any_of(index->entries, [&](const DecodedFrame::Entry& chunk) {
                         return chunk.id == (*entry)->id && chunk.offset == at.raw_offset && chunk.size == at.size;
                       });
    if (!found) in->second.push_back((*entry)->id);
  }
  for (auto& [number, chunks] : missing) {
    if (chunks.empty()) continue;
    std::string what =
        segment_text(number) + ": " + std::to_string(chunks.size()) + " chunks are not where the index says";
    damage(std::move(what), std::move(chunks));
  }
  return {};
}

Result<void> Checker::check_recipes() {
  std::optional<ContentId> last;
  const auto cursor = parts_.database.scan(kRecipeFamily, {}, {});
  for (; cursor->valid(); cursor->next()) {
    const auto content = Hash::from_bytes(as_bytes(cursor->key().substr(0, Hash::kSize)));
    if (!content || cursor->key().size() != recipe_page_key(Hash{}, 0).size()) {
      damage("the recipe family has a malformed key");
      continue;
    }
    if (last == *content) continue;
    last = *content;
    const auto pages = recipe_pages(parts_.database, *content);
    const auto recipe = pages ? decode_recipe(*pages) : Result<Recipe>{fail(pages.error())};
    if (!recipe || recipe->content != *content) {
      damage("recipe of content " + content->hex() + ": " +
                 (recipe ? "names content " + recipe->content.hex() : recipe.error().context),
             {*content});
      continue;
    }
    std::vector<ChunkId> missing;
    for (const Recipe::Entry& entry : recipe->entries) {
      const auto found = parts_.index.find(entry.id);
      if (!found || !*found) missing.push_back(entry.id);
    }
    if (missing.empty()) continue;
    std::string what =
        "content " + content->hex() + ": " + std::to_string(missing.size()) + " of its chunks are missing";
    damage(std::move(what), std::move(missing));
  }
  if (auto ok = cursor->status(); !ok) damage(ok.error().context);
  return {};
}

}  // namespace

Result<ContentStore::CheckReport> check_store(StoreParts& parts, bool deep, const ContentStore::Progress& progress) {
  return Checker{parts, deep, progress}.run();
}

}  // namespace stellarium::cas
