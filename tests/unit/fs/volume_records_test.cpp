#include "fs/volume_records.h"

#include <gtest/gtest.h>

#include "fs/tinyvol.h"
#include "support/golden.h"

namespace stellarium::fs {
namespace {

VolumeRecord example_record() {
  return {.number = 7,
          .map = 12,
          .size = 10ull << 30,
          .mapped = 3 * kVolumeBlock,
          .staged = 0x1122334455667788,
          .created = {1'700'000'000, 5},
          .changed = {1'700'000'001, 999'999'999},
          .origin = "disk.qcow2"};
}
Extent extent() {
  return {.id = cas::hash_of(as_bytes("a block")), .length = kVolumeBlock};
}
std::string line(const char* name, std::string_view bytes) {
  std::string out = std::string{name} + " ";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back("0123456789abcdef"[byte >> 4]);
    out.push_back("0123456789abcdef"[byte & 15]);
  }
  return out + "\n";
}

TEST(VolumeRecords, OfTheFirstVersionAreReadForEver) {
  const std::string text = line("volume", encode_volume(example_record())) + line("map-key", map_key(12)) +
                           line("map", encode_map({11})) + line("counters", encode_volume_counters({13, 8})) +
                           line("extent-key", extent_key(12, 300)) + line("extent", encode_extent(extent())) +
                           line("extent-zeros", encode_extent({}));
  EXPECT_EQ(text, test::golden_or_write("volume-records-v1.txt", text));
}

TEST(VolumeRecords, AreReadAsTheyWereWritten) {
  EXPECT_EQ(decode_volume(encode_volume(example_record())), example_record());
  EXPECT_EQ(decode_map(encode_map({11})), MapRecord{11});
  EXPECT_EQ(decode_volume_counters(encode_volume_counters({13, 8})), (VolumeCounters{13, 8}));
  EXPECT_EQ(decode_extent(encode_extent(extent())), extent());
  EXPECT_EQ(decode_extent(encode_extent({})), Extent{});
  const auto key = decode_extent_key(extent_key(12, 300));
  ASSERT_TRUE(key);
  EXPECT_EQ(key->map, 12u);
  EXPECT_EQ(key->block, 300u);
}

TEST(VolumeRecords, ThatAreCutShortAreCorrupt) {
  VolumeRecord record = example_record();
  record.origin.clear();
  const std::string whole = encode_volume(record);
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(decode_volume(whole.substr(0, length))) << length;
  EXPECT_FALSE(decode_map(encode_map({1}).substr(1)));
  EXPECT_FALSE(decode_map(encode_map({1}) + "x"));
  EXPECT_FALSE(decode_extent(encode_extent(extent()).substr(1)));
  EXPECT_FALSE(decode_extent_key(extent_key(1, 1).substr(1)));
}

TEST(VolumeRecords, OfAnotherVersionAreRefusedByNumber) {
  for (std::string bytes : {encode_volume(example_record()), encode_map({1}), encode_volume_counters({})}) {
    bytes[0] = 2;
    const Errc code = bytes.size() == 9    ? decode_map(bytes).error().code
                      : bytes.size() == 17 ? decode_volume_counters(bytes).error().code
                                           : decode_volume(bytes).error().code;
    EXPECT_EQ(code, Errc::version);
  }
}

TEST(VolumeRecords, OutOfRangeAreCorrupt) {
  const auto refused = [](auto change) {
    VolumeRecord record = example_record();
    record.origin.clear();
    std::string bytes = encode_volume(record);
    change(bytes);
    return !decode_volume(bytes);
  };
  const auto number = [](std::size_t at, std::uint64_t value) {
    return [=](std::string& bytes) { store_le(bytes.data() + at, value); };
  };
  EXPECT_TRUE(refused(number(1, 0)));
  EXPECT_TRUE(refused(number(1, kMaxVolumeNumber + 1)));
  EXPECT_TRUE(refused(number(9, 0)));
  EXPECT_TRUE(refused(number(17, 0)));
  EXPECT_TRUE(refused(number(17, kMaxVolumeSize + 1)));
  EXPECT_TRUE(refused(number(25, ~std::uint64_t{0})));
  EXPECT_TRUE(refused(number(33, ~std::uint64_t{0})));
  EXPECT_FALSE(decode_extent_key(extent_key(0, 1)));
  EXPECT_FALSE(decode_extent_key(extent_key(1, kMaxVolumeSize / kVolumeBlock)));
}

}  // namespace
}  // namespace stellarium::fs
