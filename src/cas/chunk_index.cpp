#include "cas/chunk_index.h"

#include <cassert>

#include "cas/families.h"
#include "cas/recipe.h"

namespace stellarium::cas {
namespace {

constexpr std::size_t kLocationSize = 14;

}  // namespace

std::string encode_location(const ChunkLocation& location) {
  assert(location.size >= 1 && location.size <= kMaxChunk && location.raw_offset < (1u << 24));
  std::string out;
  put_le(out, location.segment);
  put_le(out, location.container);
  put_le(out, static_cast<std::uint16_t>(location.raw_offset));
  put_le(out, static_cast<std::uint8_t>(location.raw_offset >> 16));
  put_le(out, static_cast<std::uint16_t>(location.size - 1));
  put_le(out, std::uint8_t{0});  // flags: none are defined
  return out;
}

Result<ChunkLocation> decode_location(std::string_view value) {
  ByteReader reader{as_bytes(value)};
  ChunkLocation location{};
  location.segment = reader.le<std::uint32_t>();
  location.container = reader.le<std::uint32_t>();
  location.raw_offset = reader.le<std::uint16_t>();
  location.raw_offset |= static_cast<std::uint32_t>(reader.le<std::uint8_t>()) << 16;
  location.size = std::uint32_t{reader.le<std::uint16_t>()} + 1;
  const auto flags = reader.le<std::uint8_t>();
  if (!reader.at_end())
    return fail(Errc::corrupt, "a chunk location has " + std::to_string(value.size()) + " bytes, expected " +
                                   std::to_string(kLocationSize));
  if (flags != 0) return fail(Errc::version, "a chunk location has unknown flags " + std::to_string(flags));
  return location;
}

Result<std::optional<ChunkLocation>> ChunkIndex::find(const ChunkId& id) const {
  auto value = database_.get(kChunkFamily, id.text());
  if (!value) return fail(std::move(value).error(), "looking up chunk " + id.hex());
  if (!*value) return std::nullopt;
  auto location = decode_location(**value);
  if (!location) return fail(std::move(location).error(), "looking up chunk " + id.hex());
  return *location;
}

Result<bool> ChunkIndex::contains(const ChunkId& id) {
  if (recent_.contains(id)) return true;
  const auto found = find(id);
  if (!found) return fail(found.error());
  if (*found) recent_.add(id);
  return found->has_value();
}

Result<bool> ChunkIndex::points_to(const ChunkId& id, const ChunkLocation& at) const {
  const auto found = find(id);
  if (!found) return fail(found.error());
  return *found == at;
}

Result<void> ChunkIndex::add(std::span<const Entry> entries, Database::Batch batch) {
  for (const Entry& entry : entries) batch.put(kChunkFamily, entry.id.text(), encode_location(entry.at));
  MutexLock lock{writer_};
  if (auto ok = database_.write(std::move(batch), Database::Sync::no); !ok) return ok;
  for (const Entry& entry : entries) recent_.add(entry.id);
  return {};
}

Result<std::uint64_t> ChunkIndex::move(std::span<const Move> moves, Database::Batch batch) {
  MutexLock lock{writer_};
  std::uint64_t moved = 0;
  for (const Move& move : moves) {
    const auto here = points_to(move.id, move.from);
    if (!here) return fail(here.error());
    if (!*here) continue;
    batch.put(kChunkFamily, move.id.text(), encode_location(move.to));
    ++moved;
  }
  if (auto ok = database_.write(std::move(batch), Database::Sync::no); !ok) return fail(ok.error());
  return moved;
}

Result<std::uint64_t> ChunkIndex::erase(std::span<const Entry> entries) {
  MutexLock lock{writer_};
  Database::Batch batch;
  std::uint64_t erased = 0;
  for (const Entry& entry : entries) {
    const auto here = points_to(entry.id, entry.at);
    if (!here) return fail(here.error());
    if (!*here) continue;
    batch.erase(kChunkFamily, entry.id.text());
    recent_.remove(entry.id);
    ++erased;
  }
  if (auto ok = database_.write(std::move(batch), Database::Sync::no); !ok) return fail(ok.error());
  return erased;
}

ChunkIndex::Walk ChunkIndex::walk() const {
  return Walk{database_.scan(kChunkFamily, {}, {})};
}

Result<std::optional<ChunkIndex::Entry>> ChunkIndex::Walk::next() {
  if (!cursor_->valid()) {
    if (auto ok = cursor_->status(); !ok) return fail(ok.error());
    return std::nullopt;
  }
  const auto id = Hash::from_bytes(as_bytes(cursor_->key()));
  if (!id)
    return fail(Errc::corrupt, "the chunk index has a key of " + std::to_string(cursor_->key().size()) + " bytes");
  auto location = decode_location(cursor_->value());
  if (!location) return fail(std::move(location).error(), "walking over the chunk index at " + id->hex());
  cursor_->next();
  return Entry{*id, *location};
}

}  // namespace stellarium::cas
