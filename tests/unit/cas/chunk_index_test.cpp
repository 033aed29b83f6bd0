#include "cas/chunk_index.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "cas/families.h"
#include "cas/segment_table.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace stellarium::cas {
namespace {

class ChunkIndexTest : public ::testing::Test {
 protected:
  ChunkIndexTest() {
    auto opened = Database::open(dir_ / "db", kFamilies, Database::Options{});
    if (!opened) throw std::runtime_error(to_string(opened.error()));
    database_ = *std::move(opened);
    index_ = std::make_unique<ChunkIndex>(*database_);
  }
  void add(const ChunkId& id, const ChunkLocation& at) {
    const ChunkIndex::Entry entry{id, at};
    ASSERT_TRUE(index_->add(std::span{&entry, 1}, {}));
  }

  const test::TempDir dir_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<ChunkIndex> index_;
  const ChunkId id_ = hash_of(as_bytes("chunk"));
  const ChunkLocation first_{1, 64, 0, 100}, second_{2, 64, 300, 100};
};

TEST(ChunkLocation, HasTheBytesOfTheFormatPage) {
  const std::string expected{"\x07\0\0\0\x34\x12\0\0\x01\0\x02\xff\xff\0", 14};
  EXPECT_EQ(encode_location({7, 0x1234, 0x020001, 65'536}), expected);
  EXPECT_EQ(decode_location(expected).value(), (ChunkLocation{7, 0x1234, 0x020001, 65'536}));
}

/// One "what hex" line.
std::string line(const std::string& what, std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out = what + ' ';
  for (const char byte : bytes) {
    out.push_back(kDigits[static_cast<unsigned char>(byte) >> 4]);
    out.push_back(kDigits[static_cast<unsigned char>(byte) & 15]);
  }
  return out + '\n';
}

TEST(ChunkLocation, IsWrittenAsInEveryReleasedVersion) {
  const std::string made =
      line("location", encode_location({7, 0x1234, 0x020001, 65'536})) +
      line("location", encode_location({1, 64, 0, 1})) +
      line("segment-open", encode_segment_record({SegmentState::open, 0, 0, 0, 0, 0})) +
      line("segment-finished",
           encode_segment_record({SegmentState::finished, 67'034'888, 700, 9000, 154'700'000, 4096}));
  EXPECT_EQ(made, test::golden_or_write("chunk-index-v1.txt", made));
}

TEST(Families, KeepTheirNamesAndPrefixes) {
  std::string made;
  for (const Family* family : kFamilies)
    made += std::string{family->name} + ' ' + std::to_string(family->prefix_size) + '\n';
  EXPECT_EQ(made, test::golden_or_write("database-v1.txt", made));
}

TEST(ChunkLocation, RefusesOtherLengthsAndUnknownFlags) {
  std::string value = encode_location({1, 2, 3, 4});
  EXPECT_EQ(decode_location(value + "x").error().code, Errc::corrupt);
  EXPECT_EQ(decode_location(std::string_view{value}.substr(1)).error().code, Errc::corrupt);
  EXPECT_EQ(decode_location("").error().code, Errc::corrupt);
  value.back() = 1;
  EXPECT_EQ(decode_location(value).error().code, Errc::version);
}

TEST_F(ChunkIndexTest, FindsWhatWasAdded) {
  EXPECT_EQ(index_->find(id_).value(), std::nullopt);
  add(id_, first_);
  EXPECT_EQ(index_->find(id_).value(), first_);
  EXPECT_TRUE(index_->points_to(id_, first_).value());
  EXPECT_FALSE(index_->points_to(id_, second_).value());
}

TEST_F(ChunkIndexTest, MovesOnlyWhatIsStillThere) {
  add(id_, first_);
  const ChunkLocation third{3, 64, 0, 100};
  const ChunkIndex::Move stale{id_, second_, third}, move{id_, first_, second_};
  EXPECT_EQ(index_->move(std::span{&stale, 1}, {}).value(), 0u);
  EXPECT_EQ(index_->find(id_).value(), first_);
  EXPECT_EQ(index_->move(std::span{&move, 1}, {}).value(), 1u);
  EXPECT_EQ(index_->find(id_).value(), second_);
}

TEST_F(ChunkIndexTest, ErasesOnlyWhatIsStillThere) {
  add(id_, first_);
  const ChunkIndex::Entry stale{id_, second_}, entry{id_, first_};
  EXPECT_EQ(index_->erase(std::span{&stale, 1}).value(), 0u);
  EXPECT_EQ(index_->erase(std::span{&entry, 1}).value(), 1u);
  EXPECT_EQ(index_->find(id_).value(), std::nullopt);
}

TEST_F(ChunkIndexTest, ContainsWhatWasAddedAndNotErased) {
  EXPECT_FALSE(*index_->contains(id_));
  add(id_, first_);
  EXPECT_TRUE(*index_->contains(id_));
  EXPECT_TRUE(*ChunkIndex{*database_}.contains(id_)) << "also what another run added";
  const ChunkIndex::Entry entry{id_, first_};
  EXPECT_EQ(*index_->erase(std::span{&entry, 1}), 1u);
  EXPECT_FALSE(*index_->contains(id_));
}

TEST_F(ChunkIndexTest, ContainsIdsThatShareASlotOfItsCache) {
  ChunkId other = id_;
  other.bytes[0] ^= std::byte{1};
  add(id_, first_);
  add(other, second_);
  EXPECT_TRUE(*index_->contains(id_));
  EXPECT_TRUE(*index_->contains(other));
  const ChunkIndex::Entry entry{other, second_};
  EXPECT_EQ(*index_->erase(std::span{&entry, 1}), 1u);
  EXPECT_FALSE(*index_->contains(other));
  EXPECT_TRUE(*index_->contains(id_));
}

TEST_F(ChunkIndexTest, ChangesTogetherWithTheBatchItIsGiven) {
  Database::Batch batch;
  SegmentTable::stage(batch, 1, SegmentRecord{.durable_size = 4096});
  const ChunkIndex::Entry entry{id_, first_};
  ASSERT_TRUE(index_->add(std::span{&entry, 1}, std::move(batch)));
  SegmentTable table;
  ASSERT_TRUE(table.load(*database_));
  EXPECT_EQ(table.find(1)->durable_size, 4096u);
}

TEST_F(ChunkIndexTest, WalksOverAllInOrder) {
  for (int n = 0; n < 100; ++n) add(hash_of(as_bytes(std::to_string(n))), first_);
  auto walk = index_->walk();
  ChunkId last{};
  int count = 0;
  for (auto entry = walk.next(); entry && *entry; entry = walk.next(), ++count) {
    EXPECT_LT(last, (*entry)->id);
    last = (*entry)->id;
  }
  EXPECT_EQ(count, 100);
}

TEST_F(ChunkIndexTest, AWalkRefusesAMalformedKey) {
  Database::Batch batch;
  batch.put(kChunkFamily, "short", encode_location(first_));
  ASSERT_TRUE(database_->write(std::move(batch), Database::Sync::no));
  EXPECT_EQ(index_->walk().next().error().code, Errc::corrupt);
}

TEST(SegmentRecord, SurvivesEncoding) {
  const SegmentRecord record{SegmentState::finished, 1, 2, 3, 4, 5};
  EXPECT_EQ(encode_segment_record(record).size(), 34u);
  EXPECT_EQ(decode_segment_record(encode_segment_record(record)).value(), record);
}

TEST(SegmentRecord, RefusesOtherVersionsStatesAndLengths) {
  std::string value = encode_segment_record({});
  EXPECT_EQ(decode_segment_record(value + "x").error().code, Errc::corrupt);
  EXPECT_EQ(decode_segment_record(std::string_view{value}.substr(0, 20)).error().code, Errc::corrupt);
  value[1] = 4;
  EXPECT_EQ(decode_segment_record(value).error().code, Errc::corrupt);
  value[0] = 2;
  EXPECT_EQ(decode_segment_record(value).error().code, Errc::version);
}

}  // namespace
}  // namespace stellarium::cas
