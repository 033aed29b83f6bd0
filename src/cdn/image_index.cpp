#include "cdn/image_index.h"

#include <algorithm>
#include <optional>

#include "cas/frame_format.h"

namespace stellarium::cdn {
namespace {

constexpr std::string_view kMagic = "STLRINDX";
constexpr std::uint32_t kVersion = 1;

tl::unexpected<Error> refuse(const std::string& what) {
  return fail(Errc::corrupt, "index of an image: " + what);
}

void put_signed(std::string& out, std::int64_t value) {
  put_varint(out, (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
}

std::int64_t take_signed(ByteReader& reader) {
  const std::uint64_t coded = reader.varint();
  return static_cast<std::int64_t>(coded >> 1) ^ -static_cast<std::int64_t>(coded & 1);
}

/// Chunk numbers as differences from the number that is expected next: zeros, mostly.
class Numbers {
 public:
  void put(std::string& out, const std::vector<ChunkNumber>& numbers) {
    put_varint(out, numbers.size());
    for (const ChunkNumber number : numbers) {
      put_signed(out, static_cast<std::int64_t>(number) - next_);
      next_ = std::int64_t{number} + 1;
    }
  }
  /// Nothing if a number is not below `end`, or there are too many.
  std::optional<std::vector<ChunkNumber>> take(ByteReader& reader, std::size_t end) {
    const std::uint64_t count = reader.varint();
    if (!reader.ok() || count == 0 || count > cas::kMaxFrameEntries) return std::nullopt;
    std::vector<ChunkNumber> numbers;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::int64_t step = take_signed(reader);
      // Neither sum nor difference of what is in range can leave 64 bits.
      if (!reader.ok() || step > INT64_C(0xffffffff) || step < -INT64_C(0xffffffff)) return std::nullopt;
      const std::int64_t number = next_ + step;
      if (number < 0 || static_cast<std::uint64_t>(number) >= end) return std::nullopt;
      numbers.push_back(static_cast<ChunkNumber>(number));
      next_ = number + 1;
    }
    return numbers;
  }

 private:
  std::int64_t next_ = 0;
};

Result<cas::Recipe> take_recipe(ByteReader& lists, ByteReader& ids, const tier::ContentRef& content) {
  cas::Recipe recipe{content.id, 0, {}};
  const std::uint64_t entries = lists.varint();
  if (!lists.ok() || entries > ids.left() / cas::Hash::kSize) return refuse("its chunk lists end too early");
  for (std::uint64_t i = 0; i < entries; ++i) {
    const std::uint64_t less_one = lists.varint(), repeated = lists.varint();
    const auto id = cas::Hash::from_bytes(ids.take(cas::Hash::kSize));
    if (!lists.ok() || !id) return refuse("its chunk lists end too early");
    if (less_one >= cas::kMaxChunk || repeated >= content.size / (less_one + 1))
      return refuse("a chunk that its content has no room for");
    const std::uint64_t size = less_one + 1, repeat = repeated + 1;
    const std::size_t before = recipe.entries.size();
    recipe.append(*id, static_cast<std::uint32_t>(size), repeat);
    if (recipe.entries.size() != before + 1 || recipe.entries.back().repeat != repeat)
      return refuse("a chunk list that could be shorter");
    if (recipe.size > content.size) break;
  }
  if (recipe.size != content.size)
    return refuse("the chunks of content " + content.id.hex() + " have " + std::to_string(recipe.size) +
                  " bytes, not " + std::to_string(content.size));
  return recipe;
}

/// Takes note that each chunk of `wanted` is placed, and none of them twice.
class Placed {
 public:
  explicit Placed(const std::vector<ChunkOrder::Chunk>& chunks) : chunks_{chunks}, seen_(chunks.size()) {}
  /// False if one of them was placed before, or all together are larger than `most`.
  bool add(const std::vector<ChunkNumber>& numbers, std::uint64_t most, bool packed_only) {
    std::uint64_t size = 0;
    for (const ChunkNumber number : numbers) {
      if (seen_[number] || (packed_only && !chunks_[number].packed)) return false;
      seen_[number] = true;
      ++count_;
      size += chunks_[number].size;
    }
    return size <= most;
  }
  std::size_t count() const { return count_; }

 private:
  const std::vector<ChunkOrder::Chunk>& chunks_;
  std::vector<bool> seen_;
  std::size_t count_ = 0;
};

/// Whether a container of so many chunks can have `stored` bytes.
bool plausible(std::uint64_t stored, std::size_t chunks) {
  return stored > cas::kFrameHeaderSize + chunks * cas::kFrameEntrySize && stored <= cas::kMaxContainer;
}

Result<void> take_bundles(ByteReader& places, const std::vector<ChunkOrder::Chunk>& chunks, ImageIndex& index) {
  Placed placed{chunks};
  Numbers numbers;
  const std::uint64_t bundles = places.varint();
  if (!places.ok() || bundles > places.left()) return refuse("its bundles end too early");
  for (std::uint64_t b = 0; b < bundles; ++b) {
    const std::uint64_t frames = places.varint();
    if (!places.ok() || frames == 0 || frames > places.left()) return refuse("its frames end too early");
    ImageIndex::Bundle& bundle = index.bundles.emplace_back();
    for (std::uint64_t f = 0; f < frames; ++f) {
      const std::uint64_t stored = places.varint();
      auto taken = numbers.take(places, chunks.size());
      if (!taken) return refuse("a frame of chunks that the image does not have");
      if (!plausible(stored, taken->size())) return refuse("a frame of " + std::to_string(stored) + " bytes");
      if (!placed.add(*taken, cas::kMaxFrameRaw, false))
        return refuse("a frame that is too large, or a chunk in two frames");
      bundle.push_back({static_cast<std::uint32_t>(stored), *std::move(taken)});
    }
  }
  if (placed.count() != chunks.size()) return refuse("chunks that lie in no frame");
  return {};
}

Result<void> take_packs(ByteReader& places, const std::vector<ChunkOrder::Chunk>& chunks, ImageIndex& index) {
  Placed placed{chunks};
  Numbers numbers;
  const std::uint64_t packs = places.varint();
  if (!places.ok() || packs > places.left() / cas::Hash::kSize) return refuse("its packs end too early");
  for (std::uint64_t p = 0; p < packs; ++p) {
    const auto id = cas::Hash::from_bytes(places.take(cas::Hash::kSize));
    const std::uint64_t stored = places.varint();
    auto taken = numbers.take(places, chunks.size());
    if (!id || !taken) return refuse("a pack of chunks that the image does not have");
    if (!plausible(stored, taken->size())) return refuse("a pack of " + std::to_string(stored) + " bytes");
    if (!placed.add(*taken, cas::kMaxPackRaw, true)) return refuse("a pack that is too large, or a chunk in two packs");
    index.packs.push_back({*id, static_cast<std::uint32_t>(stored), *std::move(taken)});
  }
  const auto packed = static_cast<std::size_t>(
      std::count_if(chunks.begin(), chunks.end(), [](const ChunkOrder::Chunk& chunk) { return chunk.packed; }));
  if (placed.count() != packed) return refuse("small contents that lie in no pack");
  return {};
}

}  // namespace

std::string encode_index(const ImageIndex& index) {
  std::string lists, ids, places;
  for (const cas::Recipe& recipe : index.recipes) {
    put_varint(lists, recipe.entries.size());
    for (const cas::Recipe::Entry& entry : recipe.entries) {
      put_varint(lists, entry.size - 1);
      put_varint(lists, entry.repeat - 1);
      ids += entry.id.text();
    }
  }
  Numbers in_bundles, in_packs;
  put_varint(places, index.bundles.size());
  for (const ImageIndex::Bundle& bundle : index.bundles) {
    put_varint(places, bundle.size());
    for (const ImageIndex::Frame& frame : bundle) {
      put_varint(places, frame.stored);
      in_bundles.put(places, frame.chunks);
    }
  }
  put_varint(places, index.packs.size());
  for (const ImageIndex::Pack& pack : index.packs) {
    places += pack.id.text();
    put_varint(places, pack.stored);
    in_packs.put(places, pack.chunks);
  }
  std::string out{kMagic};
  put_le(out, kVersion);
  put_le(out, static_cast<std::uint32_t>(index.recipes.size()));
  put_le(out, static_cast<std::uint64_t>(lists.size()));
  put_le(out, static_cast<std::uint64_t>(ids.size()));
  return out + lists + ids + places;
}

Result<ParsedIndex> parse_index(ByteSpan bytes, const std::vector<ImageContent>& contents) {
  ByteReader reader{bytes};
  if (reader.text(kMagic.size()) != kMagic) return refuse("it does not begin with " + std::string{kMagic});
  if (const auto version = reader.le<std::uint32_t>(); version != kVersion)
    return fail(Errc::version, "index of an image: version " + std::to_string(version) + ", this program knows " +
                                   std::to_string(kVersion));
  const auto recipes = reader.le<std::uint32_t>();
  const auto lists_size = reader.le<std::uint64_t>(), ids_size = reader.le<std::uint64_t>();
  if (!reader.ok() || lists_size > reader.left() || ids_size > reader.left() - lists_size)
    return refuse("its parts are larger than itself");
  ByteReader lists{reader.take(lists_size)}, ids{reader.take(ids_size)};

  ParsedIndex parsed;
  for (const ImageContent& content : contents) {
    const bool single = content.ref.size <= cas::kMaxChunk;
    auto recipe =
        single ? cas::Recipe::of_single_chunk(content.ref.id, content.ref.size) : take_recipe(lists, ids, content.ref);
    if (!recipe) return fail(std::move(recipe).error());
    if (!parsed.order.add(content, *recipe)) return refuse("a chunk of two sizes");
    if (!single) parsed.index.recipes.push_back(*std::move(recipe));
  }
  if (parsed.index.recipes.size() != recipes || !lists.at_end() || !ids.at_end())
    return refuse("chunk lists of other contents than the tree has");
  if (auto taken = take_bundles(reader, parsed.order.chunks(), parsed.index); !taken) return fail(taken.error());
  if (auto taken = take_packs(reader, parsed.order.chunks(), parsed.index); !taken) return fail(taken.error());
  if (!reader.at_end()) return refuse("bytes behind its end");
  // A number can be written longer than it need be, and equal images shall have equal indexes.
  if (encode_index(parsed.index) != as_text(bytes)) return refuse("not in its one form");
  return parsed;
}

}  // namespace stellarium::cdn
