#include "cas/families.h"
#include "cas/store_parts.h"

namespace stellarium::cas {
namespace {

/// Puts back what the database lost: every chunk that a segment holds, every recipe page among them, and the segments'
/// records. Chunks that were garbage before come back too; the next gc takes them away again.
class Rebuilder {
 public:
  Rebuilder(StoreParts& parts, const ContentStore::Progress& progress) : parts_{parts}, progress_{progress} {}

  Result<void> run();

 private:
  Result<void> take_segment(std::uint32_t number);
  Result<bool> take_container(const SegmentReader& reader, const SegmentEntry& container, bool verify,
                              Database::Batch& batch);

  StoreParts& parts_;
  const ContentStore::Progress& progress_;
  std::vector<ChunkIndex::Entry> entries_;
  std::vector<std::byte> buffer_;
};

Result<void> Rebuilder::run() {
  const auto any = parts_.index.walk().next();
  if (!any) return fail(any.error());
  if (*any || !parts_.segments->table().all().empty())
    return fail(Errc::exists, "rebuilding: the database is not empty");
  const auto files = parts_.segments->unknown_files();
  if (!files) return fail(files.error());
  std::uint64_t done = 0;
  for (const std::uint32_t number : *files) {
    if (progress_ && !progress_(done++, files->size())) return fail(Errc::cancelled, "rebuilding: stopped on request");
    if (auto ok = take_segment(number); !ok) return fail(std::move(ok).error(), "rebuilding");
  }
  if (progress_) progress_(files->size(), files->size());
  return parts_.database.flush();
}

Result<void> Rebuilder::take_segment(std::uint32_t number) {
  const auto reader = parts_.segments->reader(number);
  if (!reader) return reader.error().code == Errc::io ? Result<void>{fail(reader.error())} : Result<void>{};
  const auto size = (*reader)->size();
  if (!size) return fail(size.error());

  // A footer vouches for the containers it lists. Without one the tail may be torn, so every container is decoded.
  SegmentRecord record;
  std::vector<SegmentEntry> containers;
  if (auto footer = (*reader)->footer()) {
    record.state = SegmentState::finished;
    containers = *std::move(footer);
  } else {
    auto walk = (*reader)->walk(*size);
    if (!walk) return fail(std::move(walk).error());
    containers = std::move(walk->entries);
  }
  const bool verify = record.state == SegmentState::open;
  record.durable_size = kSegmentHeaderSize;
  Database::Batch batch;
  entries_.clear();
  for (const SegmentEntry& container : containers) {
    const auto taken = take_container(**reader, container, verify, batch);
    if (!taken) return fail(taken.error());
    if (!*taken && verify) continue;  // a torn tail has nothing behind it; behind damage there may be whole ones
    record.durable_size = container.end();
    if (!*taken || container.kind == FrameKind::freed) continue;
    ++record.containers;
    record.chunks += container.count;
    record.raw_bytes += container.raw_size;
  }
  SegmentTable::stage(batch, number, record);
  if (auto ok = parts_.index.add(entries_, std::move(batch)); !ok) return ok;
  parts_.segments->table().apply(number, record);
  return {};
}

/// False if the container is damaged.
Result<bool> Rebuilder::take_container(const SegmentReader& reader, const SegmentEntry& container, bool verify,
                                       Database::Batch& batch) {
  const auto index = reader.read_index(container.offset);
  if (!index && index.error().code == Errc::io) return fail(index.error());
  if (!index) return false;
  if (index->header.kind == FrameKind::freed) return true;
  if (verify || index->header.kind == FrameKind::recipe) {
    const auto view = reader.read(container.offset, buffer_);
    if (!view && view.error().code == Errc::io) return fail(view.error());
    const auto frame = view ? decode_frame(*view, parts_.decompressor) : Result<DecodedFrame>{fail(view.error())};
    if (!frame) return false;
    if (index->header.kind == FrameKind::recipe)
      for (const DecodedFrame::Entry& entry : frame->entries) {
        const auto header = parse_recipe_page_header(frame->data(entry));
        if (header)
          batch.put(kRecipeFamily, recipe_page_key(header->content, header->page), as_text(frame->data(entry)));
      }
  }
  for (const DecodedFrame::Entry& entry : index->entries)
    entries_.push_back({entry.id, {reader.number(), container.offset, entry.offset, entry.size}});
  return true;
}

}  // namespace

Result<void> rebuild_database(StoreParts& parts, const ContentStore::Progress& progress) {
  return Rebuilder{parts, progress}.run();
}

}  // namespace stellarium::cas
