#include "cas/segment_format.h"

#include <gtest/gtest.h>

#include "cas/hash.h"

namespace stellarium::cas {
namespace {

using Bytes = std::vector<std::byte>;

constexpr StoreId kFormatStore{std::byte{1}, std::byte{2}};
constexpr std::uint32_t kFormatNumber = 7;

/// Three containers back to back.
std::vector<SegmentEntry> three() {
  return {{64, 1000, 3000, 5, FrameKind::chunks, Codec::zstd},
          {1064, 200, 56, 2, FrameKind::pack, Codec::raw},
          {1264, 105, 1, 1, FrameKind::recipe, Codec::raw}};
}
std::uint64_t file_size_of(const std::vector<SegmentEntry>& entries) {
  return (entries.empty() ? kSegmentHeaderSize : entries.back().end()) + entries.size() * kFooterEntrySize +
         kSegmentTrailerSize;
}

/// Makes the last 32 bytes the hash of what comes before them, as a forger would.
Bytes resealed(Bytes bytes) {
  std::ranges::copy(hash_of(ByteSpan{bytes}.first(bytes.size() - 32)).bytes, bytes.end() - 32);
  return bytes;
}
template <typename T>
Bytes with(Bytes bytes, std::size_t offset, T value) {
  store_le(bytes.data() + offset, value);
  return resealed(std::move(bytes));
}
template <typename T>
Errc code_of(const Result<T>& result) {
  EXPECT_FALSE(result) << "was not refused";
  return result ? Errc::io : result.error().code;
}

TEST(SegmentName, HasEightDigitsAndIsTheOnlyOneOfItsNumber) {
  EXPECT_EQ(segment_name(0), "00000000.seg");
  EXPECT_EQ(segment_name(42), "00000042.seg");
  EXPECT_EQ(segment_name(4'294'967'295), "4294967295.seg");
  for (const std::uint32_t number : {0u, 42u, 99'999'999u, 100'000'000u, 4'294'967'295u})
    EXPECT_EQ(segment_number(segment_name(number)), number);
  for (const char* name :
       {"", "42.seg", "000000042.seg", "00000042.SEG", "00000042", "-0000042.seg", "00000042.seg~", "4294967296.seg"})
    EXPECT_FALSE(segment_number(name)) << name;
}

TEST(SegmentHeader, NamesItsNumberAndItsStore) {
  const Bytes header = encode_segment_header(kFormatNumber, kFormatStore);
  ASSERT_EQ(header.size(), kSegmentHeaderSize);
  EXPECT_TRUE(check_segment_header(header, kFormatNumber, kFormatStore));
  EXPECT_EQ(code_of(check_segment_header(header, kFormatNumber + 1, kFormatStore)), Errc::corrupt);
  EXPECT_EQ(code_of(check_segment_header(header, kFormatNumber, StoreId{})), Errc::corrupt);
}

TEST(SegmentHeader, WithAnyBitFlippedIsRefused) {
  Bytes header = encode_segment_header(kFormatNumber, kFormatStore);
  for (std::size_t bit = 0; bit < 8 * header.size(); ++bit) {
    const std::byte mask{static_cast<unsigned char>(1u << (bit % 8))};
    header[bit / 8] ^= mask;
    ASSERT_FALSE(check_segment_header(header, kFormatNumber, kFormatStore)) << "bit " << bit;
    header[bit / 8] ^= mask;
  }
}

TEST(SegmentHeader, CutShortOrOfAnotherVersionIsRefused) {
  const Bytes header = encode_segment_header(kFormatNumber, kFormatStore);
  EXPECT_EQ(code_of(check_segment_header({}, kFormatNumber, kFormatStore)), Errc::corrupt);
  EXPECT_EQ(code_of(check_segment_header(ByteSpan{header}.first(63), kFormatNumber, kFormatStore)), Errc::corrupt);
  EXPECT_EQ(code_of(check_segment_header(with<std::uint32_t>(header, 8, 2), kFormatNumber, kFormatStore)),
            Errc::version);
}

TEST(SegmentFooter, ListsWhatWasWritten) {
  const Bytes footer = encode_segment_footer(three());
  EXPECT_EQ(parse_segment_footer(footer, file_size_of(three())), three());
  const auto trailer = parse_segment_trailer(footer, file_size_of(three()));
  ASSERT_TRUE(trailer);
  EXPECT_EQ(trailer->footer_offset, three().back().end());
  EXPECT_EQ(trailer->count, 3u);
}

TEST(SegmentFooter, OfAnEmptySegmentListsNothing) {
  const auto entries = parse_segment_footer(encode_segment_footer({}), file_size_of({}));
  ASSERT_TRUE(entries);
  EXPECT_TRUE(entries->empty());
}

TEST(SegmentFooter, ThatIsNotThereIsNotFound) {
  EXPECT_EQ(code_of(parse_segment_trailer(Bytes(64), 1000)), Errc::not_found);
  EXPECT_EQ(code_of(parse_segment_trailer({}, 64)), Errc::not_found);
  EXPECT_EQ(code_of(parse_segment_trailer(encode_segment_footer({}), 127)), Errc::not_found);
}

TEST(SegmentFooter, WithAnyBitFlippedIsRefused) {
  Bytes footer = encode_segment_footer(three());
  for (std::size_t bit = 0; bit < 8 * footer.size(); ++bit) {
    const std::byte mask{static_cast<unsigned char>(1u << (bit % 8))};
    footer[bit / 8] ^= mask;
    ASSERT_FALSE(parse_segment_footer(footer, file_size_of(three()))) << "bit " << bit;
    footer[bit / 8] ^= mask;
  }
}

TEST(SegmentFooter, InAFileOfAnotherSizeIsCorrupt) {
  const Bytes footer = encode_segment_footer(three());
  for (const int wrong : {-1, 1, 16, 4096})
    EXPECT_EQ(code_of(parse_segment_footer(footer, file_size_of(three()) + static_cast<std::uint64_t>(wrong))),
              Errc::corrupt)
        << wrong;
  EXPECT_EQ(code_of(parse_segment_footer(ByteSpan{footer}.subspan(16), file_size_of(three()))), Errc::corrupt);
}

TEST(SegmentFooter, WithALyingCountIsCorrupt) {
  const std::size_t count = 3 * kFooterEntrySize + 12;
  for (const std::uint32_t lie : {0u, 2u, 4u, 0x1000'0000u, 0xffff'ffffu})
    EXPECT_EQ(code_of(parse_segment_footer(with(encode_segment_footer(three()), count, lie), file_size_of(three()))),
              Errc::corrupt);
}

TEST(SegmentFooter, OfAnotherVersionIsRefused) {
  const Bytes footer = with<std::uint32_t>(encode_segment_footer(three()), 3 * kFooterEntrySize + 8, 2);
  EXPECT_EQ(code_of(parse_segment_footer(footer, file_size_of(three()))), Errc::version);
}

TEST(SegmentFooter, WhoseContainersOverlapLeaveAGapOrAreImpossibleIsCorrupt) {
  const Bytes footer = encode_segment_footer(three());
  const auto refused = [&](const Bytes& bytes) {
    return code_of(parse_segment_footer(bytes, file_size_of(three()))) == Errc::corrupt;
  };
  const std::size_t second = kFooterEntrySize;
  for (const std::uint32_t offset : {0u, 64u, 1063u, 1065u, 0xffff'ffffu})
    EXPECT_TRUE(refused(with(footer, second, offset))) << offset;
  for (const std::uint32_t size : {0u, 63u, 199u, 201u, 0xffff'ffffu})
    EXPECT_TRUE(refused(with(footer, second + 4, size))) << size;
  EXPECT_TRUE(refused(with<std::uint32_t>(footer, second + 8, 65'537))) << "more raw bytes than a pack may hold";
  EXPECT_TRUE(refused(with<std::uint16_t>(footer, second + 12, 1025)));
  EXPECT_TRUE(refused(with<std::uint8_t>(footer, second + 14, 0)));
  EXPECT_TRUE(refused(with<std::uint8_t>(footer, second + 14, 5)));
  EXPECT_TRUE(refused(with<std::uint8_t>(footer, second + 15, 3)));
}

}  // namespace
}  // namespace stellarium::cas
