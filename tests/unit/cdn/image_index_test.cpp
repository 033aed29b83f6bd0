#include "cdn/image_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cas/frame_format.h"
#include "support/golden.h"
#include "support/index_example.h"

namespace stellarium::cdn {
namespace {

using test::id_of_byte;
using test::IndexExample;
using testing::HasSubstr;

Result<ParsedIndex> parse_for(std::string_view bytes, const std::vector<ImageContent>& contents) {
  return parse_index(as_bytes(bytes), contents);
}
/// Why it is refused; the index need not be one that a publisher would write.
std::string index_refusal(const IndexExample& example) {
  const auto parsed = parse_for(encode_index(example.index), example.contents);
  EXPECT_FALSE(parsed) << "accepted";
  if (parsed) return {};
  EXPECT_EQ(parsed.error().code, Errc::corrupt);
  return parsed.error().context;
}

TEST(ImageIndex, OfTheFirstVersionIsReadForEver) {
  const IndexExample example;
  const std::string bytes = encode_index(example.index);
  EXPECT_EQ(test::golden_or_write("image-index-v1.bin", bytes), bytes);
}

TEST(ImageIndex, ComesBackAsItWasWritten) {
  const IndexExample example;
  const auto parsed = parse_for(encode_index(example.index), example.contents);
  ASSERT_TRUE(parsed) << parsed.error().context;
  EXPECT_EQ(parsed->index.recipes, example.index.recipes);
  EXPECT_EQ(encode_index(parsed->index), encode_index(example.index));
}

TEST(ImageIndex, NumbersChunksByTheirFirstUse) {
  const IndexExample example;
  const auto parsed = parse_for(encode_index(example.index), example.contents);
  ASSERT_TRUE(parsed);
  std::vector<cas::ChunkId> ids;
  std::vector<bool> packed;
  for (const ChunkOrder::Chunk& chunk : parsed->order.chunks()) {
    ids.push_back(chunk.id);
    packed.push_back(chunk.packed);
  }
  std::vector<cas::ChunkId> expected;
  for (const unsigned byte : {1u, 2u, 5u, 6u, 3u, 4u, 7u})
    expected.push_back(id_of_byte(static_cast<std::uint8_t>(byte)));
  EXPECT_EQ(ids, expected);
  EXPECT_EQ(packed, (std::vector<bool>{true, false, false, false, false, true, false}));
}

TEST(ImageIndex, OfAnImageWithoutContentsIsEmpty) {
  const std::string bytes = encode_index({});
  ASSERT_TRUE(parse_for(bytes, {}));
  EXPECT_EQ(bytes.size(), 34u);
}

TEST(ImageIndex, CutAnywhereOrLengthenedIsRefused) {
  const IndexExample example;
  const std::string whole = encode_index(example.index);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(parse_for(std::string_view{whole}.substr(0, size), example.contents)) << size;
  EXPECT_FALSE(parse_for(whole + '\0', example.contents));
}

TEST(ImageIndex, WithAChangedByteIsRefusedOrSaysSomethingElseInTheOneForm) {
  const IndexExample example;
  const std::string whole = encode_index(example.index);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      const auto parsed = parse_for(changed, example.contents);
      if (parsed) {
        EXPECT_EQ(encode_index(parsed->index), changed) << at;
      }
    }
  }
}

TEST(ImageIndex, OfAnotherVersionIsRefusedByName) {
  const IndexExample example;
  std::string bytes = encode_index(example.index);
  bytes[8] = 2;
  const auto parsed = parse_for(bytes, example.contents);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, Errc::version);
  EXPECT_THAT(parsed.error().context, HasSubstr("version 2, this program knows 1"));
}

TEST(ImageIndex, WhoseNumbersAreLongerThanNeedBeIsRefused) {
  std::string bytes = encode_index({});
  bytes.replace(32, 1, std::string_view{"\x80\0", 2});  // no bundles, in two bytes
  const auto parsed = parse_for(bytes, {});
  ASSERT_FALSE(parsed);
  EXPECT_THAT(parsed.error().context, HasSubstr("one form"));
}

TEST(ImageIndex, OfOtherContentsIsRefused) {
  const IndexExample example;
  const std::string bytes = encode_index(example.index);
  for (std::size_t left_out = 0; left_out < example.contents.size(); ++left_out) {
    auto contents = example.contents;
    contents.erase(contents.begin() + static_cast<std::ptrdiff_t>(left_out));
    EXPECT_FALSE(parse_for(bytes, contents)) << left_out;
  }
  auto contents = example.contents;
  contents.push_back({{id_of_byte(9), 5}, false});
  EXPECT_FALSE(parse_for(bytes, contents));
  contents = example.contents;
  ++contents[2].ref.size;
  EXPECT_FALSE(parse_for(bytes, contents));
}

TEST(ImageIndex, ThatGivesOneChunkTwoSizesIsRefused) {
  IndexExample example;
  example.index.recipes[1].entries = {{id_of_byte(5), 50'000, 1}, {id_of_byte(7), 20'000, 1}};
  EXPECT_THAT(index_refusal(example), HasSubstr("two sizes"));
}

TEST(ImageIndex, WhoseChunkListCouldBeShorterIsRefused) {
  IndexExample example;
  example.index.recipes[0].entries = {
      {id_of_byte(5), 60'000, 1}, {id_of_byte(6), 60'000, 1}, {id_of_byte(6), 60'000, 1}};
  EXPECT_THAT(index_refusal(example), HasSubstr("could be shorter"));
}

TEST(ImageIndex, WhoseChunksDoNotFillTheirContentIsRefused) {
  IndexExample example;
  example.index.recipes[0].entries[1].repeat = 1;
  EXPECT_THAT(index_refusal(example), HasSubstr("120000 bytes, not 180000"));
  example.index.recipes[0].entries[1].repeat = 4'000'000'000;
  EXPECT_THAT(index_refusal(example), HasSubstr("no room"));
  example.index.recipes[0].entries.clear();
  EXPECT_THAT(index_refusal(example), HasSubstr("0 bytes, not 180000"));
}

TEST(ImageIndex, ThatPlacesAChunkTwiceOrNeverIsRefused) {
  IndexExample twice, never, twice_packed, never_packed, not_small;
  twice.index.bundles[1][0].chunks = {6, 4, 5, 0};
  EXPECT_THAT(index_refusal(twice), HasSubstr("in two frames"));
  never.index.bundles[1][0].chunks = {6, 4};
  EXPECT_THAT(index_refusal(never), HasSubstr("in no frame"));
  twice_packed.index.packs[1].chunks = {5, 0};
  EXPECT_THAT(index_refusal(twice_packed), HasSubstr("in two packs"));
  never_packed.index.packs.pop_back();
  EXPECT_THAT(index_refusal(never_packed), HasSubstr("in no pack"));
  not_small.index.packs[1].chunks = {5, 1};
  EXPECT_FALSE(index_refusal(not_small).empty());
}

TEST(ImageIndex, WithAFrameNoWriterMakesIsRefused) {
  IndexExample unknown, empty, tiny, huge, full;
  unknown.index.bundles[1][0].chunks = {6, 4, 7};
  EXPECT_THAT(index_refusal(unknown), HasSubstr("does not have"));
  empty.index.bundles[0][0].chunks = {};
  EXPECT_THAT(index_refusal(empty), HasSubstr("does not have"));
  tiny.index.bundles[0][0].stored = 64 + 2 * 40;
  EXPECT_THAT(index_refusal(tiny), HasSubstr("frame of 144 bytes"));
  huge.index.bundles[0][0].stored = cas::kMaxContainer + 1;
  EXPECT_FALSE(index_refusal(huge).empty());
  full.index.bundles.insert(full.index.bundles.begin(), ImageIndex::Bundle{});
  EXPECT_THAT(index_refusal(full), HasSubstr("frames end too early"));
}

TEST(ImageIndex, WithFramesOfMoreThanFitsIsRefused) {
  IndexExample example;
  example.contents.clear();
  example.index = {};
  ImageIndex::Frame frame{1000, {}};
  for (std::uint8_t i = 0; i < 5; ++i) {  // 5 × 60,000 bytes
    example.contents.push_back({{id_of_byte(i), 60'000}, false});
    frame.chunks.push_back(i);
  }
  example.index.bundles = {{frame}};
  EXPECT_THAT(index_refusal(example), HasSubstr("too large"));
}

TEST(ImageIndex, WhoseCountsLieTakesNoMemoryForThem) {
  const IndexExample example;
  const std::string whole = encode_index(example.index);
  // The sizes of its parts, and the counts of bundles, frames and packs: claims of things that are not there.
  for (const std::size_t at : {std::size_t{12}, std::size_t{16}, std::size_t{24}}) {
    for (const std::uint64_t lie : {std::uint64_t{1} << 31, std::uint64_t{1} << 62, ~std::uint64_t{0}}) {
      std::string changed = whole;
      store_le(changed.data() + at, lie);
      EXPECT_FALSE(parse_for(changed, example.contents)) << at;
    }
  }
  std::string many;
  put_varint(many, std::uint64_t{1} << 60);
  std::string bytes = encode_index({});
  EXPECT_FALSE(parse_for(bytes.substr(0, 32) + many, {}));
  EXPECT_FALSE(parse_for(bytes.substr(0, 33) + many, {}));
}

}  // namespace
}  // namespace stellarium::cdn
