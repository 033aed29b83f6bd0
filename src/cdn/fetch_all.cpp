#include "cdn/fetch_all.h"

#include <unordered_map>
#include <unordered_set>

#include "cdn/content_checker.h"

namespace stellarium::cdn {

Result<std::uint64_t> fetch_all(cas::ContentStore& store, cas::WriteSession& session, FrameFetcher& fetcher,
                                const Manifest& manifest, const ParsedIndex& parsed, const FetchProgress& progress,
                                std::uint64_t most) {
  std::unordered_map<cas::ChunkId, std::uint32_t, cas::HashOfHash> sizes;
  for (const ChunkOrder::Chunk& chunk : parsed.order.chunks()) sizes.emplace(chunk.id, chunk.size);
  const auto has = [&](const cas::ChunkId& id) -> Result<bool> {
    const auto known = session.knows(id, sizes[id]);  // and keeps it alive
    if (!known || !*known) return known;
    const auto size = store.chunk_size(id);
    if (!size) return fail(size.error());
    if (*size && **size != sizes[id])
      return fail(Errc::corrupt, "chunk " + id.hex() + " has another size than the image says");
    return true;
  };
  const auto ranges = plan_contents(manifest, parsed, has, most);
  if (!ranges) return fail(ranges.error());
  std::uint64_t total = 0, fetched = 0;
  std::unordered_set<cas::ChunkId, cas::HashOfHash> coming;
  for (const WantedRange& range : *ranges) {
    total += range.size();
    for (const WantedFrame& frame : range.frames)
      for (const ChunkOrder::Chunk& chunk : frame.chunks) coming.insert(chunk.id);
  }
  ContentChecker checker{store, session, parsed.index.recipes, std::move(coming)};
  auto done = fetcher.fetch(*ranges, [&](const FetchedFrame& frame) -> Result<void> {
    if (auto added = session.add_frame(frame.container, *frame.frame); !added) return added;
    if (auto checked = checker.take(frame.frame); !checked) return checked;
    fetched += frame.container.size();
    if (progress && !progress(fetched, total)) return fail(Errc::cancelled, "stopped");
    return {};
  });
  if (done) done = checker.finish();
  if (!done) return fail(std::move(done).error());
  return fetched;
}

}  // namespace stellarium::cdn
