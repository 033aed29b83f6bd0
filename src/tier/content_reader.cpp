#include "tier/content_reader.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace stellarium::tier {
namespace {

Error wrong_size(const cas::ChunkId& id, std::uint64_t expected, std::uint64_t found) {
  return {Errc::corrupt,
          "chunk " + id.hex() + ": expected " + std::to_string(expected) + " bytes, found " + std::to_string(found)};
}

void copy(const ContentReader::Run& run, MutableByteSpan out) {
  if (run.zeros != 0) {
    std::memset(out.data(), 0, run.zeros);
  } else {
    std::memcpy(out.data(), run.data.data(), run.data.size());
  }
}

}  // namespace

Result<ContentReader::Run> ContentReader::run_in(FrameCache::Chunk chunk, const ContentMap& map, std::size_t entry,
                                                 std::uint64_t offset, std::uint64_t limit) {
  const cas::Recipe::Entry& first = map.entry(entry);
  if (chunk.entry->size != first.size) return fail(wrong_size(first.id, first.size, chunk.entry->size));
  const std::uint64_t skip = (offset - map.begin_of(entry)) % first.size;
  const std::size_t begin = chunk.entry->offset + skip;
  std::size_t end = std::size_t{chunk.entry->offset} + first.size;
  std::uint64_t at = offset + first.size - skip;

  // Neighbours in the content are mostly neighbours in the frame, and then one copy or write takes them all.
  const auto* neighbour = chunk.entry + 1;
  const auto* const last = chunk.frame->entries.data() + chunk.frame->entries.size();
  for (; at < limit && at == map.end_of(entry) && neighbour != last; ++neighbour) {
    const cas::Recipe::Entry& next = map.entry(++entry);
    if (neighbour->offset != end || neighbour->id != next.id || neighbour->size != next.size || map.is_zeros(entry))
      break;
    end += next.size;
    at += next.size;
  }
  if (at > limit) end -= at - limit;
  const ByteSpan data = chunk.frame->bytes.bytes().subspan(begin, end - begin);
  return Run{std::move(chunk.frame), data};
}

Result<ContentReader::Run> ContentReader::run_at(const ContentMap& map, std::uint64_t offset, std::uint64_t limit) {
  const std::size_t entry = map.find(offset);
  if (map.is_zeros(entry)) return Run{nullptr, {}, std::min(limit, map.end_of(entry)) - offset};
  Result<FrameCache::Chunk> chunk = frames_.get(map.entry(entry).id);
  if (!chunk) return fail(chunk.error(), "content " + map.content().hex() + " at " + std::to_string(offset));
  return run_in(std::move(*chunk), map, entry, offset, limit);
}

Result<void> ContentReader::read(const ContentRef& content, std::uint64_t offset, MutableByteSpan out) {
  if (content.size <= cas::kMaxChunk) {  // most files, and their reads need no map
    if (out.empty()) return {};
    Result<FrameCache::Chunk> chunk = frames_.get(content.id);
    if (!chunk) return fail(chunk.error());
    if (chunk->entry->size != content.size) return fail(wrong_size(content.id, content.size, chunk->entry->size));
    std::memcpy(out.data(), chunk->data().data() + offset, out.size());
    return {};
  }
  const Result<RecipeCache::MapPtr> map = map_of(content);
  if (!map) return fail(map.error());
  const std::uint64_t end = offset + out.size();
  while (offset < end) {
    const Result<Run> run = run_at(**map, offset, end);
    if (!run) return fail(run.error());
    copy(*run, out);
    out = out.subspan(run->size());
    offset += run->size();
  }
  return {};
}

bool ContentReader::read_if_present(const ContentRef& content, std::uint64_t offset, MutableByteSpan out) {
  if (content.size <= cas::kMaxChunk) {
    if (out.empty()) return true;
    const auto chunk = frames_.find(content.id);
    if (!chunk || chunk->entry->size != content.size) return false;
    std::memcpy(out.data(), chunk->data().data() + offset, out.size());
    return true;
  }
  const RecipeCache::MapPtr map = recipes_.find(content.id);
  if (!map || map->size() != content.size) return false;
  const std::uint64_t end = offset + out.size();
  while (offset < end) {
    const std::size_t entry = map->find(offset);
    Result<Run> run;
    if (map->is_zeros(entry)) {
      run = Run{nullptr, {}, std::min(end, map->end_of(entry)) - offset};
    } else {
      auto chunk = frames_.find(map->entry(entry).id);
      if (!chunk) return false;
      run = run_in(std::move(*chunk), *map, entry, offset, end);
      if (!run) return false;
    }
    copy(*run, out);
    out = out.subspan(run->size());
    offset += run->size();
  }
  return true;
}

void ContentReader::prefetch(const ContentRef& content, std::uint64_t begin, std::uint64_t end) {
  const Result<RecipeCache::MapPtr> map = map_of(content);
  if (!map) return;
  while (begin < end) {
    const Result<Run> run = run_at(**map, begin, end);
    if (!run) return;
    begin += run->size();
  }
}

}  // namespace stellarium::tier
