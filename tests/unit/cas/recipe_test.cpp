#include "cas/recipe.h"

#include <gtest/gtest.h>

#include <limits>

#include "support/golden.h"
#include "support/random_bytes.h"

namespace stellarium::cas {
namespace {

using test::golden;
using test::golden_or_write;

constexpr std::size_t kEntries = 10, kPage = 12, kPages = 16, kSize = 24, kHeaderSize = 64;  // offsets in a page

Hash id_of(std::uint64_t n) {
  std::string bytes;
  put_le(bytes, n);
  return hash_of(as_bytes(bytes));
}

/// A content of `chunks` different chunks of 32 KiB and more.
Recipe recipe_of(std::size_t chunks) {
  Recipe recipe{.content = id_of(1'000'000), .size = 0, .entries = {}};
  for (std::size_t i = 0; i < chunks; ++i) recipe.append(id_of(i), 32'768 + static_cast<std::uint32_t>(i % 100));
  return recipe;
}
Recipe small_recipe() {
  Recipe recipe = recipe_of(2);
  recipe.append(id_of(7), 65'536, 1000);
  recipe.append(id_of(8), 1);
  return recipe;
}

Errc error_of(const std::vector<std::string>& pages) {
  const auto recipe = decode_recipe(pages);
  EXPECT_FALSE(recipe) << "was not refused";
  return recipe ? Errc::io : recipe.error().code;
}
template <typename T>
std::vector<std::string> with(const Recipe& recipe, std::size_t offset, T value, std::size_t page = 0) {
  auto pages = encode_recipe(recipe);
  store_le(pages.at(page).data() + offset, value);
  return pages;
}

TEST(Recipe, IsReadAsItWasWritten) {
  for (const std::size_t chunks : {2u, 3u, 1023u, 1024u, 1025u, 5000u}) {
    const Recipe recipe = recipe_of(chunks);
    const auto pages = encode_recipe(recipe);
    EXPECT_EQ(pages.size(), (chunks + 1023) / 1024);
    EXPECT_EQ(decode_recipe(pages), recipe) << chunks;
  }
}

TEST(Recipe, OfAContentUpToOneChunkIsThatChunk) {
  const Recipe one = Recipe::of_single_chunk(id_of(1), 65'536);
  ASSERT_EQ(one.entries.size(), 1u);
  EXPECT_EQ(one.entries[0].id, one.content);
  EXPECT_EQ(decode_recipe(encode_recipe(one)), one);
  const Recipe empty = Recipe::of_single_chunk(hash_of({}), 0);
  EXPECT_TRUE(empty.entries.empty());
  EXPECT_EQ(decode_recipe(encode_recipe(empty)), empty);
}

TEST(Recipe, OfAnyRunOfOneChunkIsOneEntry) {
  Recipe piecemeal{.content = id_of(1), .size = 0, .entries = {}}, at_once = piecemeal;
  for (int i = 0; i < 5; ++i) piecemeal.append(id_of(2), 65'536, 2);
  at_once.append(id_of(2), 65'536, 10);
  EXPECT_EQ(piecemeal, at_once);
  EXPECT_EQ(at_once.entries.size(), 1u);
  EXPECT_EQ(at_once.size, 655'360u);
}

TEST(Recipe, OfTenGigabytesOfZerosIsOnePage) {
  Recipe recipe{.content = id_of(1), .size = 0, .entries = {}};
  recipe.append(id_of(2), 65'536, 152'587);
  recipe.append(id_of(3), 58'368);
  EXPECT_EQ(recipe.size, 10'000'000'000u);
  EXPECT_EQ(encode_recipe(recipe).size(), 1u);
}

TEST(Recipe, GoesOnInANewEntryWhenARepeatCountIsFull) {
  constexpr std::uint64_t kFull = std::numeric_limits<std::uint32_t>::max();
  Recipe recipe{.content = id_of(1), .size = 0, .entries = {}};
  recipe.append(id_of(2), 65'536, kFull - 1);
  recipe.append(id_of(2), 65'536, kFull);
  ASSERT_EQ(recipe.entries.size(), 2u);
  EXPECT_EQ(recipe.entries[0].repeat, kFull);
  EXPECT_EQ(recipe.entries[1].repeat, kFull - 1);
  EXPECT_EQ(decode_recipe(encode_recipe(recipe)), recipe);
}

TEST(Recipe, HasAnIdThatNamesItsChunksAndItsContent) {
  const Recipe recipe = recipe_of(3);
  Recipe other_content = recipe;
  other_content.content = id_of(5);
  EXPECT_EQ(recipe.id(), recipe_of(3).id());
  EXPECT_NE(recipe.id(), other_content.id());
  EXPECT_NE(recipe.id(), recipe_of(4).id());
  EXPECT_EQ(recipe.id(), hash_of(as_bytes(encode_recipe(recipe).at(0))));
}

TEST(Recipe, IsWhatVersionOneWrote) {
  const std::string page = encode_recipe(small_recipe()).at(0);
  EXPECT_EQ(page, golden_or_write("recipe-v1.bin", page));
}

TEST(Recipe, OfVersionOneIsStillRead) {
  EXPECT_EQ(decode_recipe({golden("recipe-v1.bin")}), small_recipe());
}

TEST(RecipePage, SaysWhereItBelongs) {
  const auto pages = encode_recipe(recipe_of(1025));
  const auto header = parse_recipe_page_header(as_bytes(pages[1]));
  ASSERT_TRUE(header);
  EXPECT_EQ(header->content, recipe_of(1025).content);
  EXPECT_EQ(header->page, 1u);
  EXPECT_EQ(header->pages, 2u);
  EXPECT_EQ(header->entries, 1u);
}

TEST(RecipePage, FitsIntoAChunkAndHasAKeyThatSortsByPage) {
  EXPECT_LE(encode_recipe(recipe_of(1024)).at(0).size(), kMaxChunk);
  EXPECT_EQ(recipe_page_key(id_of(1), 255).size(), 36u);
  EXPECT_LT(recipe_page_key(id_of(1), 255), recipe_page_key(id_of(1), 256));
}

TEST(RecipePage, CutShortOrWithATailIsCorrupt) {
  const std::string page = encode_recipe(small_recipe()).at(0);
  for (std::size_t size = 0; size < page.size(); ++size)
    ASSERT_EQ(error_of({page.substr(0, size)}), Errc::corrupt) << size;
  EXPECT_EQ(error_of({page + '\0'}), Errc::corrupt);
  EXPECT_EQ(error_of({}), Errc::corrupt);
}

TEST(RecipePage, OfAnotherVersionNamesBoth) {
  const auto recipe = decode_recipe(with<std::uint16_t>(small_recipe(), 8, 2));
  ASSERT_FALSE(recipe);
  EXPECT_EQ(recipe.error().code, Errc::version);
  EXPECT_EQ(recipe.error().context, "recipe: version: expected 1, found 2");
}

TEST(RecipePage, WithWrongMagicOrReservedBytesIsCorrupt) {
  EXPECT_EQ(error_of(with<std::uint8_t>(small_recipe(), 0, 'X')), Errc::corrupt);
  EXPECT_EQ(error_of(with<std::uint32_t>(small_recipe(), 20, 1)), Errc::corrupt);
}

TEST(RecipePage, WithALyingCountIsCorrupt) {
  for (const auto count : std::vector<std::uint16_t>{0, 1, 3, 5, 1024, 1025, 65'535})
    EXPECT_EQ(error_of(with(small_recipe(), kEntries, count)), Errc::corrupt) << count;
  for (const std::uint32_t page : {1u, 0xffff'ffffu})
    EXPECT_EQ(error_of(with(small_recipe(), kPage, page)), Errc::corrupt);
  for (const std::uint32_t pages : {0u, 2u, 0xffff'ffffu})
    EXPECT_EQ(error_of(with(small_recipe(), kPages, pages)), Errc::corrupt);
}

TEST(Recipe, WithPagesMissingSwappedOrRepeatedIsCorrupt) {
  const auto pages = encode_recipe(recipe_of(3000));
  ASSERT_EQ(pages.size(), 3u);
  EXPECT_EQ(error_of({pages[0], pages[1]}), Errc::corrupt);
  EXPECT_EQ(error_of({pages[0], pages[2], pages[1]}), Errc::corrupt);
  EXPECT_EQ(error_of({pages[0], pages[1], pages[2], pages[2]}), Errc::corrupt);
}

TEST(Recipe, WithAPageOfAnotherContentIsCorrupt) {
  Recipe other = recipe_of(3000);
  other.content = id_of(5);
  auto pages = encode_recipe(recipe_of(3000));
  pages[1] = encode_recipe(other)[1];
  EXPECT_EQ(error_of(pages), Errc::corrupt);
}

TEST(Recipe, WhoseSizesDoNotAddUpIsCorrupt) {
  const std::uint64_t size = small_recipe().size;
  for (const std::uint64_t lie : {std::uint64_t{0}, std::uint64_t{1}, size - 1, size + 1, ~std::uint64_t{0}})
    EXPECT_EQ(error_of(with(small_recipe(), kSize, lie)), Errc::corrupt) << lie;
}

TEST(Recipe, ThatRepeatsAChunkZeroTimesIsCorrupt) {
  EXPECT_EQ(error_of(with<std::uint32_t>(small_recipe(), kHeaderSize + 4 * 34, 0)), Errc::corrupt);
}

TEST(Recipe, ThatSplitsARunIsCorrupt) {
  Recipe split = recipe_of(2);
  split.entries.push_back(split.entries.back());
  split.size += split.entries.back().size;
  EXPECT_EQ(error_of(encode_recipe(split)), Errc::corrupt);
}

TEST(Recipe, ThatCutsASmallContentIsCorrupt) {
  Recipe cut{.content = id_of(1), .size = 0, .entries = {}};
  cut.append(id_of(2), 100);
  cut.append(id_of(3), 100);
  EXPECT_EQ(error_of(encode_recipe(cut)), Errc::corrupt);
  Recipe repeated{.content = id_of(1), .size = 0, .entries = {}};
  repeated.append(id_of(1), 100, 2);
  EXPECT_EQ(error_of(encode_recipe(repeated)), Errc::corrupt);
}

TEST(Recipe, WhoseOnlyChunkIsNotItsContentIsCorrupt) {
  Recipe foreign = Recipe::of_single_chunk(id_of(1), 100);
  foreign.content = id_of(2);
  EXPECT_EQ(error_of(encode_recipe(foreign)), Errc::corrupt);
}

}  // namespace
}  // namespace stellarium::cas
