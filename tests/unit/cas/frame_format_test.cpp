#include "cas/frame_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "cas/recipe.h"
#include "support/frame_bytes.h"
#include "support/golden.h"
#include "support/random_bytes.h"

namespace stellarium::cas {
namespace {

using test::golden;
using test::golden_or_write;
using test::random_bytes;
using test::same_bytes;
using test::text_bytes;
using Bytes = std::vector<std::byte>;

constexpr int kLevel = 4;
constexpr std::size_t kCount = 12, kRawSize = 16, kStoredSize = 20, kChecksum = 32;  // offsets of header fields

Bytes encoded(FrameKind kind, const std::vector<Bytes>& chunks, int level = kLevel) {
  FrameBuilder builder{kind};
  for (const Bytes& chunk : chunks) builder.add(hash_of(chunk), chunk);
  Compressor compressor{level};
  return test::container_of(builder, compressor);
}
/// Calls of eight functions from everywhere, as in machine code.
Bytes code_bytes(std::uint32_t seed, std::uint32_t size) {
  Bytes code(size, std::byte{0x90});
  std::mt19937 random{seed};
  for (std::uint32_t at = 0; at + 5 < size; at += 5 + static_cast<std::uint32_t>(random()) % 40) {
    code[at] = std::byte{0xe8};
    store_le(&code[at + 1], (static_cast<std::uint32_t>(random()) % 8) * 0x1234 - at);
  }
  return code;
}
Bytes text_frame() {
  return encoded(FrameKind::chunks, {text_bytes(1, 3000), text_bytes(2, 1), text_bytes(3, 65'536)});
}
Bytes raw_frame() {
  return encoded(FrameKind::pack, {random_bytes(1, 300), random_bytes(2, 1), random_bytes(3, 200)});
}

/// Makes header and index match their checksum again, as a forger would.
Bytes resealed(Bytes container) {
  const std::size_t index_size = load_le<std::uint32_t>(container.data() + kCount) * kFrameEntrySize;
  Hasher hasher;
  hasher.update(ByteSpan{container}.first(kChecksum));
  if (kFrameHeaderSize + index_size <= container.size())
    hasher.update(ByteSpan{container}.subspan(kFrameHeaderSize, index_size));
  std::ranges::copy(hasher.finish().bytes, container.begin() + kChecksum);
  return container;
}
template <typename T>
Bytes with(Bytes container, std::size_t offset, T value) {
  store_le(container.data() + offset, value);
  return resealed(std::move(container));
}

Errc error_of(ByteSpan container) {
  const auto view = parse_frame(container);
  if (!view) return view.error().code;
  Decompressor decompressor;
  const auto frame = decode_frame(*view, decompressor);
  EXPECT_FALSE(frame) << "was not refused";
  return frame ? Errc::io : frame.error().code;
}

DecodedFrame decoded(ByteSpan container) {
  const auto view = parse_frame(container);
  EXPECT_TRUE(view) << to_string(view.error());
  Decompressor decompressor;
  auto frame = decode_frame(view.value(), decompressor);
  EXPECT_TRUE(frame) << to_string(frame.error());
  return std::move(frame).value();
}

TEST(Frame, GivesBackEveryChunkByItsId) {
  const std::vector<Bytes> chunks{text_bytes(1, 3000), random_bytes(2, 1), text_bytes(3, 65'536),
                                  random_bytes(4, 8192)};
  const DecodedFrame frame = decoded(encoded(FrameKind::chunks, chunks));
  ASSERT_EQ(frame.entries.size(), chunks.size());
  for (const Bytes& chunk : chunks) {
    const auto* entry = frame.find(hash_of(chunk));
    ASSERT_NE(entry, nullptr);
    EXPECT_TRUE(same_bytes(frame.data(*entry), chunk));
  }
  EXPECT_EQ(frame.find(hash_of({})), nullptr);
}

TEST(Frame, IsCompressedWhereThatPaysAndRawElsewhere) {
  EXPECT_EQ(parse_frame_header(text_frame())->codec, Codec::zstd);
  EXPECT_LT(text_frame().size(), 40'000u);
  EXPECT_EQ(parse_frame_header(raw_frame())->codec, Codec::raw);
  EXPECT_EQ(raw_frame().size(), kFrameHeaderSize + 3 * kFrameEntrySize + 501);
}

TEST(Frame, OfMachineCodeHasItsBranchesConverted) {
  const std::vector<Bytes> chunks{code_bytes(1, 5001), code_bytes(2, 4000)};
  const Bytes container = encoded(FrameKind::chunks, chunks);
  EXPECT_EQ(parse_frame_header(container)->codec, Codec::zstd_x86);
  const DecodedFrame frame = decoded(container);
  for (const Bytes& chunk : chunks) {
    const auto* entry = frame.find(hash_of(chunk));
    ASSERT_NE(entry, nullptr);
    EXPECT_TRUE(same_bytes(frame.data(*entry), chunk));
  }
}

TEST(Frame, OfTheSameChunksIsTheSameBytes) {
  EXPECT_EQ(text_frame(), text_frame());
}

TEST(Frame, IsWhatVersionOneWrote) {
  const Bytes raw = raw_frame();
  EXPECT_EQ(as_text(raw), golden_or_write("cosmic-pack-v1-raw.bin", as_text(raw)));
}

TEST(Frame, OfVersionOneIsStillRead) {
  const std::string raw = golden("cosmic-pack-v1-raw.bin");
  EXPECT_EQ(parse_frame_header(as_bytes(raw))->kind, FrameKind::pack);
  EXPECT_EQ(decoded(as_bytes(raw)).entries.size(), 3u);

  // Another version of zstd may write other bytes, so the compressed example is compared by its content only.
  const std::vector<Bytes> chunks{text_bytes(1, 300), text_bytes(2, 200)};
  const std::string zstd = golden_or_write("cosmic-pack-v1-zstd.bin", as_text(encoded(FrameKind::chunks, chunks)));
  EXPECT_EQ(parse_frame_header(as_bytes(zstd))->codec, Codec::zstd);
  const DecodedFrame frame = decoded(as_bytes(zstd));
  for (const Bytes& chunk : chunks) EXPECT_NE(frame.find(hash_of(chunk)), nullptr);

  const std::string x86 =
      golden_or_write("cosmic-pack-v1-x86.bin", as_text(encoded(FrameKind::chunks, {code_bytes(1, 600)})));
  EXPECT_EQ(parse_frame_header(as_bytes(x86))->codec, Codec::zstd_x86);
  EXPECT_NE(decoded(as_bytes(x86)).find(hash_of(code_bytes(1, 600))), nullptr);
}

TEST(Frame, CutShortAtAnyByteIsCorrupt) {
  const Bytes container = raw_frame();
  for (std::size_t size = 0; size < container.size(); ++size)
    ASSERT_EQ(error_of(ByteSpan{container}.first(size)), Errc::corrupt) << size;
}

TEST(Frame, WithATailIsCorrupt) {
  Bytes container = raw_frame();
  container.push_back(std::byte{0});
  EXPECT_EQ(error_of(container), Errc::corrupt);
}

TEST(Frame, NeverGivesAWrongByteWhicheverBitIsFlipped) {
  const std::vector<Bytes> chunks{text_bytes(1, 300), text_bytes(2, 200)};
  const Bytes container = encoded(FrameKind::chunks, chunks);
  const DecodedFrame intact = decoded(container);
  const std::size_t index_end = kFrameHeaderSize + chunks.size() * kFrameEntrySize;
  Decompressor decompressor;
  for (std::size_t bit = 0; bit < 8 * container.size(); ++bit) {
    Bytes flipped = container;
    flipped[bit / 8] ^= std::byte{static_cast<unsigned char>(1u << (bit % 8))};
    const auto view = parse_frame(flipped);
    ASSERT_FALSE(view && bit / 8 < index_end) << "bit " << bit;
    if (!view) continue;
    // zstd has bits that mean nothing; with one of them flipped the data is what it was.
    const auto frame = decode_frame(*view, decompressor);
    ASSERT_TRUE(!frame || same_bytes(std::as_const(*frame).bytes.bytes(), intact.bytes.bytes())) << "bit " << bit;
  }
}

TEST(Frame, OfAnotherVersionNamesBoth) {
  const auto header = parse_frame_header(with<std::uint16_t>(raw_frame(), 8, 2));
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().code, Errc::version);
  EXPECT_EQ(header.error().context, "container: version: expected 1, found 2");
}

TEST(Frame, WithWrongMagicKindCodecOrReservedBytesIsCorrupt) {
  EXPECT_EQ(error_of(with<std::uint8_t>(raw_frame(), 0, 'X')), Errc::corrupt);
  for (const auto kind : std::vector<std::uint8_t>{0, 5, 255})
    EXPECT_EQ(error_of(with(raw_frame(), 10, kind)), Errc::corrupt) << int{kind};
  for (const auto codec : std::vector<std::uint8_t>{3, 255})
    EXPECT_EQ(error_of(with(raw_frame(), 11, codec)), Errc::corrupt) << int{codec};
  EXPECT_EQ(error_of(with<std::uint8_t>(raw_frame(), 31, 1)), Errc::corrupt);
}

TEST(Frame, WithALyingCountIsCorrupt) {
  for (const std::uint32_t count : {0u, 1u, 2u, 4u, 1024u, 1025u, 0x1999'999au, 0xffff'ffffu})
    EXPECT_EQ(error_of(with(raw_frame(), kCount, count)), Errc::corrupt) << count;
}

TEST(Frame, WithALyingRawSizeIsCorrupt) {
  const auto raw_size = load_le<std::uint32_t>(text_frame().data() + kRawSize);
  for (const std::uint32_t size : {0u, 1u, raw_size - 1, raw_size + 1, 262'144u, 262'145u, 0xffff'ffffu}) {
    EXPECT_EQ(error_of(with(text_frame(), kRawSize, size)), Errc::corrupt) << size;
    EXPECT_EQ(error_of(with(raw_frame(), kRawSize, size)), Errc::corrupt) << size;
  }
}

TEST(Frame, WithALyingStoredSizeIsCorrupt) {
  const auto stored = load_le<std::uint32_t>(text_frame().data() + kStoredSize);
  for (const std::uint32_t size : {0u, 1u, stored - 1, stored + 1, 262'144u, 0xffff'ffffu}) {
    EXPECT_EQ(error_of(with(text_frame(), kStoredSize, size)), Errc::corrupt) << size;
    EXPECT_EQ(error_of(with(raw_frame(), kStoredSize, size)), Errc::corrupt) << size;
  }
}

TEST(Frame, AboveTheLimitOfItsKindIsCorrupt) {
  EXPECT_EQ(error_of(with(text_frame(), /*kind*/ 10, std::uint8_t{2})), Errc::corrupt) << "68 KiB in a pack";
}

TEST(Frame, WhoseEntriesLeaveAGapOverlapOrPointAtTheHeaderIsCorrupt) {
  const std::size_t second_offset = kFrameHeaderSize + kFrameEntrySize + 32;
  for (const std::uint32_t offset : {0u, 299u, 301u, 501u, 0xffff'ffffu, 0u - 64u})
    EXPECT_EQ(error_of(with(raw_frame(), second_offset, offset)), Errc::corrupt) << offset;
  const std::size_t last_size = kFrameHeaderSize + 2 * kFrameEntrySize + 36;
  for (const auto size : std::vector<std::uint16_t>{0, 198, 200, 65'535})
    EXPECT_EQ(error_of(with(raw_frame(), last_size, size)), Errc::corrupt) << size;
}

TEST(Frame, WithUnknownFlagsIsCorrupt) {
  EXPECT_EQ(error_of(with<std::uint16_t>(raw_frame(), kFrameHeaderSize + 38, 1)), Errc::corrupt);
}

TEST(Frame, WithContentUnderAnotherIdIsCorrupt) {
  FrameBuilder builder{FrameKind::chunks};
  builder.add(hash_of(as_bytes("A")), as_bytes("B"));
  Compressor compressor{kLevel};
  EXPECT_EQ(error_of(test::container_of(builder, compressor)), Errc::corrupt);
}

TEST(Frame, WithTwoLengthsForOneIdIsCorrupt) {
  const Bytes data = text_bytes(1, 100);
  FrameBuilder builder{FrameKind::chunks};
  builder.add(hash_of(data), data);
  builder.add(hash_of(data), ByteSpan{data}.first(50));
  Compressor compressor{kLevel};
  EXPECT_EQ(error_of(test::container_of(builder, compressor)), Errc::corrupt);
}

TEST(Frame, OnceFreedIsNotFoundAndKeepsItsSize) {
  Bytes container = text_frame();
  const Bytes freed = encode_freed_header(container.size());
  ASSERT_EQ(freed.size(), kFrameHeaderSize);
  std::ranges::copy(freed, container.begin());
  EXPECT_EQ(error_of(container), Errc::not_found);
  const auto index = parse_frame_index(container);
  ASSERT_TRUE(index);
  EXPECT_TRUE(index->entries.empty());
  EXPECT_EQ(index->header.container_size(), container.size());
}

TEST(Frame, ThatClaimsToBeFreedAndHugeIsCorrupt) {
  Bytes container = encode_freed_header(kMaxContainer);
  EXPECT_TRUE(parse_frame_index(container));
  EXPECT_FALSE(parse_frame_index(with<std::uint32_t>(container, kStoredSize, kMaxContainer - 63)));
  EXPECT_FALSE(parse_frame_index(with<std::uint32_t>(container, kStoredSize, 0xffff'ffff)));
  EXPECT_FALSE(parse_frame_index(with<std::uint32_t>(container, kRawSize, 1)));
}

TEST(Frame, ThatClaimsAThousandfoldExpansionNeverWritesPastItsRawSize) {
  // 256 KiB of zeros compress to a few dozen bytes; the header then says one byte less, the entry agrees.
  Bytes bomb = encoded(FrameKind::chunks, {Bytes(65'536), Bytes(65'535)});
  ASSERT_LT(bomb.size(), 300u);
  store_le(bomb.data() + kRawSize, std::uint32_t{131'070});
  bomb = with<std::uint16_t>(std::move(bomb), kFrameHeaderSize + kFrameEntrySize + 36, 65'533);
  EXPECT_EQ(error_of(bomb), Errc::corrupt);
}

TEST(FrameBuilder, FillsUpToTheLimitOfItsKindExactly) {
  FrameBuilder chunks{FrameKind::chunks};
  for (std::uint64_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(chunks.fits(kMaxChunk));
    const Bytes data = text_bytes(i, kMaxChunk);
    chunks.add(hash_of(data), data);
  }
  EXPECT_FALSE(chunks.fits(1));
  EXPECT_EQ(chunks.raw_size(), kMaxFrameRaw);
  Compressor compressor{kLevel};
  EXPECT_EQ(decoded(test::container_of(chunks, compressor)).bytes.size(), kMaxFrameRaw);
  chunks.clear();
  EXPECT_TRUE(chunks.empty() && chunks.fits(kMaxChunk));

  FrameBuilder pack{FrameKind::pack};
  EXPECT_TRUE(pack.fits(kMaxPackRaw));
  EXPECT_FALSE(pack.fits(kMaxPackRaw + 1));
}

TEST(FrameBuilder, TakesAtMostAThousandAndTwentyFourChunks) {
  FrameBuilder builder{FrameKind::pack};
  for (std::size_t i = 0; i < kMaxFrameEntries; ++i) {
    ASSERT_TRUE(builder.fits(2));
    std::string data;
    put_le(data, static_cast<std::uint16_t>(i));
    builder.add(hash_of(as_bytes(data)), as_bytes(data));
  }
  EXPECT_FALSE(builder.fits(2));
  Compressor compressor{kLevel};
  EXPECT_EQ(decoded(test::container_of(builder, compressor)).entries.size(), kMaxFrameEntries);
}

}  // namespace
}  // namespace stellarium::cas
