#include "cas/codec.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "support/random_bytes.h"

namespace stellarium::cas {
namespace {

using test::random_bytes;
using test::text_bytes;

std::vector<std::byte> compressed(ByteSpan raw, int level = 4) {
  Compressor compressor{level};
  std::vector<std::byte> out(raw.size() + 1024);
  out.resize(compressor.compress(raw, out).value());
  return out;
}

Errc error_of(ByteSpan stored, std::size_t raw_size) {
  std::vector<std::byte> raw(raw_size);
  const auto done = Decompressor{}.decompress(stored, raw);
  EXPECT_FALSE(done);
  return done ? Errc::io : done.error().code;
}

TEST(Codec, GivesBackWhatItTook) {
  for (const std::size_t size : {1u, 2u, 255u, 256u, 257u, 65'536u, 262'144u}) {
    const auto raw = text_bytes(/*seed=*/size, size);
    std::vector<std::byte> back(size);
    ASSERT_TRUE(Decompressor{}.decompress(compressed(raw), back)) << size;
    EXPECT_EQ(back, raw) << size;
  }
}

TEST(Codec, GivesTheSameBytesWhateverTheContextDidBefore) {
  const auto raw = text_bytes(/*seed=*/1, 100'000);
  Compressor compressor{4};
  std::vector<std::byte> out(raw.size());
  compressor.compress(text_bytes(/*seed=*/2, 262'144), out);
  out.resize(compressor.compress(raw, out).value());
  EXPECT_EQ(out, compressed(raw));
}

TEST(Codec, SaysWhenTheResultDoesNotFit) {
  const auto raw = random_bytes(/*seed=*/1, 10'000);
  std::vector<std::byte> out(raw.size() - 1);
  EXPECT_FALSE(Compressor{4}.compress(raw, out));
  EXPECT_FALSE(Compressor{4}.compress(raw, {}));
}

TEST(Codec, KeepsItsLevelBetweenOneAndTwentyTwo) {
  EXPECT_EQ(Compressor{0}.level(), kMinLevel);
  EXPECT_EQ(Compressor{-7}.level(), kMinLevel);
  EXPECT_EQ(Compressor{23}.level(), kMaxLevel);
  EXPECT_EQ(Compressor{15}.level(), 15);
}

TEST(Codec, AHigherLevelIsNotLarger) {
  const auto raw = text_bytes(/*seed=*/1, 262'144);
  EXPECT_LT(compressed(raw, 19).size(), compressed(raw, 1).size());
}

TEST(Codec, RefusesAStatedSizeThatIsNotTheExpectedOne) {
  const auto stored = compressed(text_bytes(/*seed=*/1, 1000));
  EXPECT_EQ(error_of(stored, 999), Errc::corrupt);
  EXPECT_EQ(error_of(stored, 1001), Errc::corrupt);
  EXPECT_EQ(error_of(stored, 0), Errc::corrupt);
}

TEST(Codec, RefusesAFrameCutShortAtAnyByte) {
  const auto stored = compressed(text_bytes(/*seed=*/1, 1000));
  for (std::size_t size = 0; size < stored.size(); ++size)
    EXPECT_EQ(error_of(ByteSpan{stored}.first(size), 1000), Errc::corrupt) << size;
}

TEST(Codec, RefusesMoreThanOneFrame) {
  const auto first = compressed(text_bytes(/*seed=*/1, 600)), second = compressed(text_bytes(/*seed=*/2, 400));
  std::vector<std::byte> both = first;
  both.insert(both.end(), second.begin(), second.end());
  EXPECT_EQ(error_of(both, 1000), Errc::corrupt);
  EXPECT_EQ(error_of(both, 600), Errc::corrupt);
  auto with_tail = first;
  with_tail.push_back(std::byte{0});
  EXPECT_EQ(error_of(with_tail, 600), Errc::corrupt);
}

TEST(Codec, RefusesSkippableFrames) {
  const auto frame = compressed(text_bytes(/*seed=*/1, 600));
  std::string skippable;
  put_le<std::uint32_t>(skippable, 0x184d2a50);
  put_le<std::uint32_t>(skippable, 4);
  skippable += "skip";
  EXPECT_EQ(error_of(as_bytes(skippable), 4), Errc::corrupt);
  put_bytes(skippable, frame);
  EXPECT_EQ(error_of(as_bytes(skippable), 600), Errc::corrupt);
  std::string endless;
  put_le<std::uint32_t>(endless, 0x184d2a50);
  put_le<std::uint32_t>(endless, 0xffff'ffff);
  EXPECT_EQ(error_of(as_bytes(endless), 600), Errc::corrupt);
}

TEST(Codec, RefusesAFrameWhoseSizeFieldLies) {
  // RFC 8878: magic, descriptor 0x60 (single segment, two-byte size), size - 256.
  auto stored = compressed(text_bytes(/*seed=*/1, 1000));
  ASSERT_EQ(stored[4], std::byte{0x60});
  ASSERT_EQ(load_le<std::uint16_t>(stored.data() + 5), 1000 - 256);
  for (const int lie : {-1, 1, 60'000}) {
    auto lying = stored;
    store_le(lying.data() + 5, static_cast<std::uint16_t>(1000 - 256 + lie));
    EXPECT_EQ(error_of(lying, static_cast<std::size_t>(1000 + lie)), Errc::corrupt) << lie;
  }
}

TEST(Codec, RefusesADictionaryIdAndAnUnstatedSize) {
  auto stored = compressed(text_bytes(/*seed=*/1, 1000));
  auto with_dictionary = stored;
  with_dictionary[4] |= std::byte{1};
  with_dictionary.insert(with_dictionary.begin() + 5, std::byte{42});
  EXPECT_EQ(error_of(with_dictionary, 1000), Errc::corrupt);

  auto unstated = stored;
  unstated[4] = std::byte{0};  // not a single segment: a window byte, and no size
  unstated.erase(unstated.begin() + 5, unstated.begin() + 7);
  unstated.insert(unstated.begin() + 5, std::byte{0xff});  // the largest window there is
  EXPECT_EQ(error_of(unstated, 1000), Errc::corrupt);
}

TEST(Codec, ServesSeveralThreadsAtOnce) {
  Compressor compressor{1};
  Decompressor decompressor;
  std::vector<std::jthread> threads;
  for (std::uint64_t seed = 0; seed < 4; ++seed)
    threads.emplace_back([&, seed] {
      for (std::size_t size = 1000; size < 50'000; size += 7000) {
        const auto raw = text_bytes(seed, size);
        std::vector<std::byte> stored(size), back(size);
        const auto used = compressor.compress(raw, stored);
        EXPECT_TRUE(used && decompressor.decompress(ByteSpan{stored}.first(*used), back) && back == raw);
      }
    });
}

}  // namespace
}  // namespace stellarium::cas
