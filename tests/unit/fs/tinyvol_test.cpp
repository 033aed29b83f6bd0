#include "fs/tinyvol.h"

#include <gtest/gtest.h>

#include "support/golden.h"

namespace stellarium::fs {
namespace {

constexpr std::uint64_t kTinySize = 10 * kVolumeBlock + 1000;

cas::ChunkId id_of(std::uint8_t seed) {
  cas::ChunkId id;
  id.bytes.fill(std::byte{seed});
  return id;
}

TinyVol example() {
  TinyVol volume{.base = id_of(9), .size = kTinySize, .blocks = {}};
  volume.blocks = {{id_of(1), 0, false}, {{}, 3 * kVolumeBlock, true}, {id_of(2), 10 * kVolumeBlock, false}};
  return volume;
}

Errc error_of(std::string_view bytes) {
  const auto decoded = decode_tinyvol(bytes);
  EXPECT_FALSE(decoded) << "accepted";
  return decoded ? Errc::io : decoded.error().code;
}
std::string with(std::string bytes, std::size_t at, std::string_view put) {
  return bytes.replace(at, put.size(), put);
}
std::string with_number(std::string bytes, std::size_t at, std::uint64_t number) {
  store_le(bytes.data() + at, number);
  return bytes;
}

TEST(TinyVol, IsReadAsItWasWritten) {
  const auto read = decode_tinyvol(encode_tinyvol(example()));
  ASSERT_TRUE(read) << to_string(read.error());
  EXPECT_EQ(*read, example());
}

TEST(TinyVol, OfTheFirstVersionIsReadForEver) {
  EXPECT_EQ(test::golden_or_write("tinyvol-v1.bin", encode_tinyvol(example())), encode_tinyvol(example()));
}

TEST(TinyVol, ThatIsEmptyTakesAHeaderWhateverItsSize) {
  const TinyVol empty{.base = {}, .size = 10ull << 30, .blocks = {}};
  EXPECT_EQ(encode_tinyvol(empty).size(), 64u);
  EXPECT_EQ(decode_tinyvol(encode_tinyvol(empty)), empty);
}

TEST(TinyVol, ReachesToTheLargestOffset) {
  TinyVol volume{.base = {}, .size = kMaxVolumeSize, .blocks = {{id_of(1), kMaxVolumeSize - kVolumeBlock, false}}};
  EXPECT_EQ(decode_tinyvol(encode_tinyvol(volume)), volume);
}

TEST(TinyVol, ThatWasCutIsRefusedAtEveryLength) {
  const std::string whole = encode_tinyvol(example());
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_EQ(error_of(std::string_view{whole}.substr(0, length)), Errc::corrupt) << length;
  EXPECT_EQ(error_of(whole + '\0'), Errc::corrupt);
}

TEST(TinyVol, OfAnotherKindOrVersionIsRefused) {
  const std::string whole = encode_tinyvol(example());
  EXPECT_EQ(error_of(with(whole, 0, "t")), Errc::corrupt);
  EXPECT_EQ(error_of(with(whole, 8, "\2")), Errc::version);
  EXPECT_EQ(error_of(with(whole, 12, "\1")), Errc::corrupt) << "unknown flags";
}

TEST(TinyVol, WhoseCountLiesIsRefused) {
  const std::string whole = encode_tinyvol(example());
  for (const std::uint64_t count : {0ull, 2ull, 4ull, 1ull << 60, ~0ull})
    EXPECT_EQ(error_of(with_number(whole, 56, count)), Errc::corrupt);
}

TEST(TinyVol, WhoseSizeDoesNotFitItsBlocksIsRefused) {
  const std::string whole = encode_tinyvol(example());
  for (const std::uint64_t size :
       {std::uint64_t{0}, kVolumeBlock, kTinySize - 1, kTinySize + 1, kMaxVolumeSize + 1, ~std::uint64_t{0}})
    EXPECT_EQ(error_of(with_number(whole, 48, size)), Errc::corrupt) << size;
}

TEST(TinyVol, WhoseBlocksAreOutOfOrderOrOverlapIsRefused) {
  TinyVol swapped = example();
  std::swap(swapped.blocks[0], swapped.blocks[1]);
  EXPECT_EQ(error_of(encode_tinyvol(swapped)), Errc::corrupt);
  TinyVol twice = example();
  twice.blocks[1] = twice.blocks[0];
  EXPECT_EQ(error_of(encode_tinyvol(twice)), Errc::corrupt);
  const std::string whole = encode_tinyvol(example());
  EXPECT_EQ(error_of(with(whole, 64 + 48 + 32, "\1")), Errc::corrupt) << "an offset inside a block";
}

TEST(TinyVol, WhoseBlocksHaveWrongLengthsOrFlagsIsRefused) {
  const std::string whole = encode_tinyvol(example());
  EXPECT_EQ(error_of(with(whole, 64 + 38, "\1")), Errc::corrupt) << "a short block in the middle";
  EXPECT_EQ(error_of(with(whole, 64 + 40, "\2")), Errc::corrupt) << "an unknown flag";
  EXPECT_EQ(error_of(with(whole, 64 + 40, "\1")), Errc::corrupt) << "zeros with an id";
  EXPECT_EQ(error_of(with(whole, 64 + 48 + 40, std::string_view{"\0", 1})), Errc::corrupt) << "neither";
}

TEST(TinyVol, WithoutABaseNamesNoZeros) {
  TinyVol volume = example();
  volume.base = {};
  EXPECT_EQ(error_of(encode_tinyvol(volume)), Errc::corrupt);
}

}  // namespace
}  // namespace stellarium::fs
