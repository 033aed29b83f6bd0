#include "cas/content_store.h"

#include <cassert>

#include "cas/families.h"
#include "cas/store_parts.h"

namespace stellarium::cas {
namespace {

class LocalStore final : public ContentStore {
 public:
  LocalStore(Database& database, Io& io, const Options& options, std::unique_ptr<SegmentSet> segments)
      : parts_{database, io, options, std::move(segments)} {}

  Result<std::shared_ptr<const DecodedFrame>> fetch(const ChunkId& id) override { return fetch_frame(parts_, id); }
  std::unique_ptr<WriteSession> begin_session() override {
    assert(!parts_.closed);
    return make_session(parts_);
  }
  Result<Recipe> recipe(const ContentId& content, std::uint64_t size) override;
  Result<bool> has_chunk(const ChunkId& id) override {
    const auto found = parts_.index.find(id);
    if (!found) return fail(found.error());
    return found->has_value();
  }
  Result<std::optional<std::uint32_t>> chunk_size(const ChunkId& id) override {
    const auto found = parts_.index.find(id);
    if (!found) return fail(found.error());
    return *found ? std::optional{(*found)->size} : std::nullopt;
  }
  Result<GcReport> collect(const LiveContents& live, bool dry_run, bool allow_empty,
                           const Progress& progress) override {
    MutexLock lock{parts_.maintenance};
    return collect_garbage(parts_, live, dry_run, allow_empty, progress);
  }
  Result<RecompressReport> recompress(const LiveContents& live, int level, const Progress& progress) override;
  Result<CheckReport> check(bool deep, const Progress& progress) override {
    MutexLock lock{parts_.maintenance};
    return check_store(parts_, deep, progress);
  }
  Result<RepairReport> repair(std::span<const ChunkId> damaged, const Copies& copies,
                              const Progress& progress) override {
    MutexLock lock{parts_.maintenance};
    return repair_chunks(parts_, damaged, copies, progress);
  }
  Result<void> rebuild(const Progress& progress) override {
    MutexLock lock{parts_.maintenance};
    return rebuild_database(parts_, progress);
  }
  Stats stats() override;
  Result<void> close() override;
  void give_back_memory() override {
    parts_.made->give_back_memory();
    parts_.decoded->give_back_memory();
  }

 private:
  StoreParts parts_;
};

Result<Recipe> LocalStore::recipe(const ContentId& content, std::uint64_t size) {
  if (size <= kMaxChunk) return Recipe::of_single_chunk(content, size);
  const auto pages = recipe_pages(parts_.database, content);
  if (!pages) return fail(pages.error());
  if (pages->empty()) return fail(Errc::not_found, "content " + content.hex() + " is not in the store");
  auto recipe = decode_recipe(*pages);
  if (!recipe) return fail(std::move(recipe).error(), "recipe of content " + content.hex());
  if (recipe->content != content || recipe->size != size)
    return fail(Errc::corrupt, "recipe of content " + content.hex() + ": expected " + std::to_string(size) +
                                   " bytes, found " + std::to_string(recipe->size) + " of content " +
                                   recipe->content.hex());
  return recipe;
}

Result<ContentStore::RecompressReport> LocalStore::recompress(const LiveContents& live, int level,
                                                              const Progress& progress) {
  MutexLock lock{parts_.maintenance};
  // Garbage first, so that nothing is rewritten that nobody needs; the roots are checked on the way.
  if (const auto collected = collect_garbage(parts_, live, /*dry_run=*/false, /*allow_empty=*/false, progress);
      !collected)
    return fail(collected.error());
  return recompress_segments(parts_, level, progress);
}

ContentStore::Stats LocalStore::stats() {
  Stats stats;
  for (const auto& [number, record] : parts_.segments->table().all()) {
    ++stats.segments;
    stats.segment_bytes += record.durable_size - std::min(record.durable_size, record.freed_bytes);
    stats.chunks += record.chunks;
    stats.raw_bytes += record.raw_bytes;
  }
  stats.frames_decoded = parts_.frames_decoded;
  stats.corrupt_reads = parts_.corrupt_reads;
  return stats;
}

Result<void> LocalStore::close() {
  parts_.closed = true;
  if (auto ok = parts_.segments->finish_idle(parts_.options.segment_bytes / 4); !ok) return ok;
  return parts_.database.sync();
}

}  // namespace

Result<std::vector<std::string>> recipe_pages(const Database& database, const ContentId& content) {
  std::vector<std::string> pages;
  std::uint32_t expected = 1;
  while (pages.size() < expected) {
    auto page = database.get(kRecipeFamily, recipe_page_key(content, static_cast<std::uint32_t>(pages.size())));
    if (!page) return fail(std::move(page).error(), "recipe of content " + content.hex());
    if (!*page && pages.empty()) return pages;
    if (!*page)
      return fail(Errc::corrupt, "recipe of content " + content.hex() + ": page " + std::to_string(pages.size()) +
                                     " of " + std::to_string(expected) + " is missing");
    const auto header = parse_recipe_page_header(as_bytes(**page));
    if (!header) return fail(header.error(), "recipe of content " + content.hex());
    expected = header->pages;
    pages.push_back(**std::move(page));
  }
  return pages;
}

Result<std::unique_ptr<ContentStore>> ContentStore::open(Database& database, Io& io, const std::filesystem::path& dir,
                                                         const Options& options) {
  if (options.segment_bytes < kSegmentHeaderSize + kMaxContainer || options.segment_bytes > kMaxSegmentSize)
    return fail(Errc::invalid_argument,
                "segments of " + std::to_string(options.segment_bytes) + " bytes: expected between " +
                    std::to_string(kSegmentHeaderSize + kMaxContainer) + " and " + std::to_string(kMaxSegmentSize));
  auto segments = SegmentSet::open(database, io, dir, options.store);
  if (!segments) return fail(std::move(segments).error());
  return std::make_unique<LocalStore>(database, io, options, *std::move(segments));
}

}  // namespace stellarium::cas
