#include "cas/store_parts.h"
#include "cas/write_session.h"

// A chunk that cannot be delivered is stored once more, into a new container, from bytes that hash to its id; the index
// then points there. The damaged container stays where it is until gc frees it, since nothing points to it any more.
namespace stellarium::cas {

Result<bool> can_deliver(StoreParts& parts, const ChunkId& id) {
  const auto frame = fetch_frame(parts, id);
  if (frame) return true;
  if (frame.error().code == Errc::corrupt || frame.error().code == Errc::not_found) return false;
  return fail(frame.error());
}

Result<ContentStore::RepairReport> repair_chunks(StoreParts& parts, std::span<const ChunkId> damaged,
                                                 const ContentStore::Copies& copies,
                                                 const ContentStore::Progress& progress) {
  ContentStore::RepairReport report;
  StoreSession session{parts};
  std::uint64_t done = 0;
  for (const ChunkId& id : damaged) {
    if (progress && !progress(done++, damaged.size())) return fail(Errc::cancelled, "repairing: stopped on request");
    const auto deliverable = can_deliver(parts, id);
    if (!deliverable) return fail(deliverable.error());
    if (*deliverable) continue;
    parts.distrusted.add(id);
    const auto copy = copies(id);
    if (!copy || copy->bytes.empty() || copy->bytes.size() > kMaxChunk || hash_of(copy->bytes) != id) {
      ++report.lost;
      continue;
    }
    const auto lane = copy->recipe_page ? FramePipeline::Lane::recipes : FramePipeline::Lane::frames;
    if (auto ok = session.store(lane, id, copy->bytes); !ok) return fail(ok.error());
    ++report.restored;
  }
  if (auto ok = session.commit(); !ok) return fail(ok.error());
  return report;
}

}  // namespace stellarium::cas
