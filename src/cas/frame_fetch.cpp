#include "cas/store_parts.h"

namespace stellarium::cas {
namespace {

/// Reads and decodes the container at `at`, which must hold `id` there.
Result<std::shared_ptr<const DecodedFrame>> read_frame(StoreParts& parts, const ChunkId& id, const ChunkLocation& at) {
  const auto reader = parts.segments->reader(at.segment);
  if (!reader) return fail(reader.error());
  // One container at most (300 KiB) per thread that ever fetched; allocating it anew would cost more than reading it.
  thread_local std::vector<std::byte> buffer;
  const auto view = (*reader)->read(at.container, buffer);
  if (!view) return fail(view.error());
  auto frame = decode_frame(*view, parts.decompressor, parts.decoded.get());
  const auto where = [&] { return segment_text(at.segment) + " at byte " + std::to_string(at.container); };
  if (!frame) return fail(std::move(frame).error(), where());
  const DecodedFrame::Entry* const entry = frame->find(id);
  if (entry == nullptr || entry->offset != at.raw_offset || entry->size != at.size)
    return fail(Errc::corrupt, where() + ": the container does not hold the chunk where the index says");
  ++parts.frames_decoded;
  return std::make_shared<const DecodedFrame>(*std::move(frame));
}

}  // namespace

Result<std::shared_ptr<const DecodedFrame>> fetch_frame(StoreParts& parts, const ChunkId& id) {
  std::optional<ChunkLocation> last;
  for (;;) {
    const auto at = parts.index.find(id);
    if (!at) return fail(at.error());
    if (!*at) return fail(Errc::not_found, "chunk " + id.hex() + " is not in the store");
    const bool moved = last != *at;
    last = *at;
    auto frame = read_frame(parts, id, **at);
    if (frame) return frame;
    // gc and recompress change the index before they change segments: a place that went stale between look-up and read
    // has a successor. The same place twice is damage.
    if (moved && frame.error().code != Errc::io) continue;
    Error error = std::move(frame).error();
    if (error.code != Errc::io) {
      ++parts.corrupt_reads;
      error.code = Errc::corrupt;  // a missing file or a freed container too: the index promised the chunk
    }
    return fail(std::move(error), "reading chunk " + id.hex());
  }
}

}  // namespace stellarium::cas
