#include "cas/store_parts.h"

// Segment by segment: every live chunk goes down a pipeline that compresses harder, into new segments; once those are
// on disk and the index points there (and that is synced), the old segment is removed. A crash in between leaves two
// copies of some chunks, one of which the next gc frees. Needs room for about one segment besides what is stored.
namespace stellarium::cas {
namespace {

using Lane = FramePipeline::Lane;

/// Small contents leave their packs for frames of full size: the larger the frame, the better it compresses.
Lane lane_of(FrameKind kind) {
  switch (kind) {
    case FrameKind::pack:
      return Lane::merged;
    case FrameKind::recipe:
      return Lane::recipes;
    case FrameKind::chunks:
    case FrameKind::freed:
      break;
  }
  return Lane::frames;
}

class Recompressor {
 public:
  Recompressor(StoreParts& parts, int level, const ContentStore::Progress& progress)
      : parts_{parts},
        progress_{progress},
        compressor_{level},
        pipeline_{std::make_shared<FramePipeline>(parts.pipeline(compressor_))} {}
  Recompressor(const Recompressor&) = delete;
  Recompressor& operator=(const Recompressor&) = delete;
  ~Recompressor() { pipeline_->close(); }

  Result<ContentStore::RecompressReport> run();

 private:
  Result<void> rewrite(SegmentSet::Hold hold);
  Result<void> rewrite_container(std::uint32_t number, const SegmentReader& reader, const SegmentEntry& container);

  StoreParts& parts_;
  const ContentStore::Progress& progress_;
  Compressor compressor_;
  std::shared_ptr<FramePipeline> pipeline_;
  std::vector<std::byte> buffer_;
  std::uint64_t bytes_before_ = 0;
};

Result<ContentStore::RecompressReport> Recompressor::run() {
  // Idle open segments get their footers, so that the pipeline begins new ones instead of appending to what it
  // rewrites.
  if (auto ok = parts_.segments->finish_idle(0); !ok) return fail(std::move(ok).error());
  const auto segments = parts_.segments->table().all();
  std::uint64_t done = 0;
  for (const auto& [number, record] : segments) {
    if (progress_ && !progress_(done++, segments.size()))
      return fail(Errc::cancelled, "recompressing: stopped on request");
    auto hold = parts_.segments->hold(number);
    if (!hold) continue;  // a session appends to it
    if (auto ok = rewrite(*std::move(hold)); !ok) return fail(std::move(ok).error(), "recompressing");
  }
  if (progress_) progress_(segments.size(), segments.size());
  const FramePipeline::Totals totals = pipeline_->totals();
  return ContentStore::RecompressReport{bytes_before_, totals.bytes_stored, totals.containers};
}

Result<void> Recompressor::rewrite(SegmentSet::Hold hold) {
  const auto containers = parts_.segments->containers(hold.number());
  const auto reader = parts_.segments->reader(hold.number());
  if (!containers || !reader) {  // damaged: it stays as it is, for fsck to name
    const Error& error = containers ? reader.error() : containers.error();
    return error.code == Errc::io ? Result<void>{fail(error)} : Result<void>{};
  }
  bool damaged = false;
  for (const SegmentEntry& container : *containers) {
    const auto ok = rewrite_container(hold.number(), **reader, container);
    if (!ok && ok.error().code != Errc::corrupt) return ok;
    damaged = damaged || !ok;
  }
  if (auto ok = pipeline_->make_durable(); !ok) return ok;
  if (auto ok = parts_.database.sync(); !ok) return ok;
  if (damaged) return {};
  if (const auto removed = parts_.segments->remove(std::move(hold)); !removed) return fail(removed.error());
  return {};
}

Result<void> Recompressor::rewrite_container(std::uint32_t number, const SegmentReader& reader,
                                             const SegmentEntry& container) {
  const auto view = reader.read(container.offset, buffer_);
  if (!view && view.error().code == Errc::not_found) return {};  // freed
  if (!view) return fail(view.error());
  const auto frame = decode_frame(*view, parts_.decompressor);
  if (!frame) return fail(frame.error());
  bool any = false;
  for (const DecodedFrame::Entry& entry : frame->entries) {
    const ChunkLocation here{number, container.offset, entry.offset, entry.size};
    const auto live = parts_.index.points_to(entry.id, here);
    if (!live) return fail(live.error());
    if (!*live) continue;
    any = true;
    if (auto ok = pipeline_->add(lane_of(view->index.header.kind), entry.id, frame->data(entry), here); !ok) return ok;
  }
  if (any) bytes_before_ += container.size;
  return {};
}

}  // namespace

Result<ContentStore::RecompressReport> recompress_segments(StoreParts& parts, int level,
                                                           const ContentStore::Progress& progress) {
  Recompressor recompressor{parts, level, progress};
  auto report = recompressor.run();
  if (!report) return report;
  if (auto ok = parts.database.compact(); !ok) return fail(std::move(ok).error());
  return report;
}

}  // namespace stellarium::cas
