#include "cas/hash.h"

#include <gtest/gtest.h>

#include "support/random_bytes.h"

namespace stellarium::cas {
namespace {

using test::random_bytes;

TEST(Hash, OfNothingAndOfThreeLettersIsThatOfThePublishedVectors) {
  EXPECT_EQ(hash_of({}).hex(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
  EXPECT_EQ(hash_of(as_bytes("abc")).hex(), "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
}

TEST(Hash, ReadsTheDigitsThatItWrites) {
  const Hash hash = hash_of(as_bytes("abc"));
  EXPECT_EQ(Hash::from_hex(hash.hex()), hash);
}

TEST(Hash, RefusesAnythingButSixtyFourLowerCaseDigits) {
  const std::string digits = hash_of({}).hex();
  EXPECT_FALSE(Hash::from_hex(""));
  EXPECT_FALSE(Hash::from_hex(digits.substr(1)));
  EXPECT_FALSE(Hash::from_hex(digits + "0"));
  EXPECT_FALSE(Hash::from_hex("A" + digits.substr(1)));
  EXPECT_FALSE(Hash::from_hex("g" + digits.substr(1)));
  EXPECT_FALSE(Hash::from_hex("/" + digits.substr(1)));
  EXPECT_FALSE(Hash::from_hex(std::string(1, '\0') + digits.substr(1)));
}

TEST(Hash, TakesExactlyThirtyTwoBytes) {
  const Hash hash = hash_of({});
  EXPECT_EQ(Hash::from_bytes(hash.span()), hash);
  EXPECT_FALSE(Hash::from_bytes(hash.span().first(31)));
  EXPECT_FALSE(Hash::from_bytes({}));
}

TEST(Hasher, OfAStreamIsThatOfTheWhole) {
  const auto data = random_bytes(/*seed=*/1, 300'001);
  Hasher hasher;
  ByteSpan rest{data};
  for (std::size_t part = 1; !rest.empty(); part = part * 3 + 1) {
    const std::size_t size = std::min(part, rest.size());
    hasher.update(rest.first(size));
    rest = rest.subspan(size);
  }
  EXPECT_EQ(hasher.finish(), hash_of(data));
}

TEST(Hasher, GoesOnAfterFinishAndStartsAnewAfterReset) {
  Hasher hasher;
  hasher.update(as_bytes("ab"));
  EXPECT_EQ(hasher.finish(), hash_of(as_bytes("ab")));
  hasher.update(as_bytes("c"));
  EXPECT_EQ(hasher.finish(), hash_of(as_bytes("abc")));
  hasher.reset();
  EXPECT_EQ(hasher.finish(), hash_of({}));
}

TEST(Hasher, CopiesGoTheirOwnWays) {
  Hasher hasher;
  hasher.update(as_bytes("ab"));
  Hasher copy = hasher;
  copy.update(as_bytes("c"));
  EXPECT_EQ(hasher.finish(), hash_of(as_bytes("ab")));
  EXPECT_EQ(copy.finish(), hash_of(as_bytes("abc")));
}

TEST(Hasher, TakesZerosThatDoNotExist) {
  for (const std::size_t count : {0u, 1u, 65'535u, 65'536u, 65'537u, 200'000u}) {
    const std::vector<std::byte> zeros(count);
    Hasher hasher;
    hasher.update(as_bytes("before"));
    Hasher real = hasher;
    hasher.update_zeros(count);
    real.update(zeros);
    EXPECT_EQ(hasher.finish(), real.finish()) << count;
  }
}

}  // namespace
}  // namespace stellarium::cas
