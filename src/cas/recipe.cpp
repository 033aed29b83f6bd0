#include "cas/recipe.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <string_view>
#include <utility>

#include "cas/format_error.h"

namespace stellarium::cas {
namespace {

constexpr std::string_view kPageMagic = "STLRRECP";
constexpr std::uint16_t kPageVersion = 1;
constexpr std::size_t kPageHeaderSize = 64;
constexpr std::uint32_t kMaxRepeat = std::numeric_limits<std::uint32_t>::max();

tl::unexpected<Error> corrupt_recipe(std::string what) {
  return fail(Errc::corrupt, "recipe: " + std::move(what));
}

/// A page is three columns behind its header, because equal fields side by side compress best.
std::string encode_page(const Recipe& recipe, std::span<const Recipe::Entry> entries, std::uint32_t page,
                        std::uint32_t pages) {
  std::string bytes{kPageMagic};
  put_le(bytes, kPageVersion);
  put_le(bytes, static_cast<std::uint16_t>(entries.size()));
  put_le(bytes, page);
  put_le(bytes, pages);
  put_le(bytes, std::uint32_t{0});
  put_le(bytes, recipe.size);
  put_bytes(bytes, recipe.content.span());
  assert(bytes.size() == kPageHeaderSize);
  for (const Recipe::Entry& entry : entries) put_bytes(bytes, entry.id.span());
  for (const Recipe::Entry& entry : entries) put_le(bytes, static_cast<std::uint16_t>(entry.size - 1));
  for (const Recipe::Entry& entry : entries) put_le(bytes, entry.repeat);
  return bytes;
}

/// Adds a page's entries to `recipe`; each must be as append() would have left it.
Result<void> parse_entries(ByteReader reader, std::uint32_t count, Recipe& recipe) {
  ByteReader ids{reader.take(count * Hash::kSize)};
  ByteReader sizes{reader.take(count * sizeof(std::uint16_t))};
  ByteReader repeats{reader.take(count * sizeof(std::uint32_t))};
  if (!reader.at_end()) return corrupt_recipe("a page's length is not that of " + std::to_string(count) + " entries");

  for (std::uint32_t i = 0; i < count; ++i) {
    const Recipe::Entry entry{.id = Hash::from_bytes(ids.take(Hash::kSize)).value(),
                              .size = sizes.le<std::uint16_t>() + 1u,
                              .repeat = repeats.le<std::uint32_t>()};
    if (entry.repeat == 0) return corrupt_recipe("a chunk repeats 0 times");
    if (!recipe.entries.empty() && recipe.entries.back().id == entry.id && recipe.entries.back().repeat != kMaxRepeat)
      return corrupt_recipe("a run of equal chunks is split");
    recipe.entries.push_back(entry);
  }
  return {};
}

}  // namespace

Recipe Recipe::of_single_chunk(const ContentId& content, std::uint64_t size) {
  assert(size <= kMaxChunk);
  Recipe recipe{.content = content, .size = 0, .entries = {}};
  if (size > 0) recipe.append(content, static_cast<std::uint32_t>(size));
  return recipe;
}

void Recipe::append(const ChunkId& id, std::uint32_t chunk_size, std::uint64_t times) {
  assert(chunk_size >= 1 && chunk_size <= kMaxChunk);
  size += chunk_size * times;
  if (times > 0 && !entries.empty() && entries.back().id == id) {
    const std::uint64_t more = std::min<std::uint64_t>(times, kMaxRepeat - entries.back().repeat);
    entries.back().repeat += static_cast<std::uint32_t>(more);
    times -= more;
  }
  while (times > 0) {
    const std::uint64_t part = std::min<std::uint64_t>(times, kMaxRepeat);
    entries.push_back({id, chunk_size, static_cast<std::uint32_t>(part)});
    times -= part;
  }
}

Hash Recipe::id() const {
  Hasher hasher;
  for (const std::string& page : encode_recipe(*this)) hasher.update(as_bytes(page));
  return hasher.finish();
}

std::string recipe_page_key(const ContentId& content, std::uint32_t page) {
  std::string key{content.text()};
  put_be(key, page);
  return key;
}

std::vector<std::string> encode_recipe(const Recipe& recipe) {
  const std::span<const Recipe::Entry> entries{recipe.entries};
  const std::size_t pages = std::max<std::size_t>(1, (entries.size() + kRecipePageEntries - 1) / kRecipePageEntries);
  std::vector<std::string> encoded;
  encoded.reserve(pages);
  for (std::size_t page = 0; page < pages; ++page) {
    const std::size_t first = page * kRecipePageEntries;
    const auto part = entries.subspan(first, std::min(kRecipePageEntries, entries.size() - first));
    encoded.push_back(encode_page(recipe, part, static_cast<std::uint32_t>(page), static_cast<std::uint32_t>(pages)));
  }
  return encoded;
}

Result<RecipePageHeader> parse_recipe_page_header(ByteSpan page) {
  ByteReader reader{page};
  const std::string_view magic = reader.text(kPageMagic.size());
  const auto version = reader.le<std::uint16_t>();
  RecipePageHeader header{};
  header.entries = reader.le<std::uint16_t>();
  header.page = reader.le<std::uint32_t>();
  header.pages = reader.le<std::uint32_t>();
  const auto reserved = reader.le<std::uint32_t>();
  header.size = reader.le<std::uint64_t>();
  const ByteSpan content = reader.take(Hash::kSize);
  if (!reader.ok()) return corrupt_recipe(expected_found("bytes of a page's header", kPageHeaderSize, page.size()));
  if (magic != kPageMagic) return corrupt_recipe("wrong magic");
  if (version != kPageVersion)
    return fail(Errc::version, "recipe: " + expected_found("version", kPageVersion, version));
  if (reserved != 0) return corrupt_recipe("reserved bytes are not zero");
  if (header.page >= header.pages)
    return corrupt_recipe("states to be page " + std::to_string(header.page) + " of " + std::to_string(header.pages));
  // All pages but the last are full, and only the one page of an empty content is empty.
  const bool last = header.page + 1 == header.pages;
  if (header.entries > kRecipePageEntries || (!last && header.entries != kRecipePageEntries) ||
      (header.entries == 0) != (header.size == 0) || (header.size == 0 && header.pages != 1))
    return corrupt_recipe("page " + std::to_string(header.page) + " of " + std::to_string(header.pages) + " states " +
                          std::to_string(header.entries) + " entries");
  header.content = Hash::from_bytes(content).value();
  return header;
}

Result<Recipe> decode_recipe(const std::vector<std::string>& pages) {
  if (pages.empty()) return corrupt_recipe("has no pages");
  Recipe recipe;
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const ByteSpan bytes = as_bytes(pages[i]);
    const Result<RecipePageHeader> header = parse_recipe_page_header(bytes);
    if (!header) return fail(header.error());
    if (header->page != i) return corrupt_recipe(expected_found("page number", i, header->page));
    if (header->pages != pages.size())
      return corrupt_recipe(expected_found("number of pages", pages.size(), header->pages));
    if (i == 0) {
      recipe.content = header->content;
      recipe.size = header->size;
    } else if (header->content != recipe.content || header->size != recipe.size) {
      return corrupt_recipe("page " + std::to_string(i) + " belongs to another content");
    }
    if (auto parsed = parse_entries(ByteReader{bytes.subspan(kPageHeaderSize)}, header->entries, recipe); !parsed)
      return fail(std::move(parsed).error());
  }

  std::uint64_t total = 0;
  for (const Recipe::Entry& entry : recipe.entries) {
    const std::uint64_t run = std::uint64_t{entry.size} * entry.repeat;
    if (run > recipe.size - total) return corrupt_recipe("its chunks are longer than its content");
    total += run;
  }
  if (total != recipe.size) return corrupt_recipe(expected_found("bytes of all chunks", recipe.size, total));
  // Up to kMaxChunk bytes are never cut, so there the one chunk is the content.
  const bool whole = recipe.entries.size() == 1 && recipe.entries[0].repeat == 1;
  if ((recipe.size <= kMaxChunk && recipe.size > 0) != whole)
    return corrupt_recipe("a content of " + std::to_string(recipe.size) + " bytes in " +
                          std::to_string(recipe.entries.size()) + " runs");
  if (whole && recipe.entries[0].id != recipe.content) return corrupt_recipe("the only chunk is not the content");
  return recipe;
}

}  // namespace stellarium::cas
