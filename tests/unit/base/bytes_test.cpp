#include "base/bytes.h"

#include <gtest/gtest.h>

namespace stellarium {
namespace {

TEST(ByteReader, ReadsWhatWasPut) {
  std::string bytes;
  put_le<std::uint32_t>(bytes, 0x01020304);
  put_be<std::uint16_t>(bytes, 0x0506);
  put_varint(bytes, 300);
  put_varint(bytes, ~std::uint64_t{0});
  bytes += "name";
  ByteReader reader{as_bytes(bytes)};
  EXPECT_EQ(reader.le<std::uint32_t>(), 0x01020304u);
  EXPECT_EQ(reader.be<std::uint16_t>(), 0x0506u);
  EXPECT_EQ(reader.varint(), 300u);
  EXPECT_EQ(reader.varint(), ~std::uint64_t{0});
  EXPECT_EQ(reader.text(4), "name");
  EXPECT_TRUE(reader.at_end());
}

TEST(ByteReader, FailsForGoodAfterTheFirstReadThatDoesNotFit) {
  ByteReader reader{as_bytes("abc")};
  reader.le<std::uint64_t>();
  EXPECT_FALSE(reader.ok());
  EXPECT_TRUE(reader.take(1).empty());
  EXPECT_FALSE(reader.at_end());
}

TEST(ByteReader, RefusesAVarintOverSixtyFourBits) {
  const std::string eleven(11, '\xff');
  ByteReader reader{as_bytes(eleven)};
  reader.varint();
  EXPECT_FALSE(reader.ok());
  ByteReader tenth_too_large{as_bytes(std::string_view{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10})};
  tenth_too_large.varint();
  EXPECT_FALSE(tenth_too_large.ok());
}

TEST(Bytes, BigEndianKeysSortAsNumbers) {
  std::string small, large;
  put_be<std::uint64_t>(small, 255);
  put_be<std::uint64_t>(large, 256);
  EXPECT_LT(small, large);
}

}  // namespace
}  // namespace stellarium
