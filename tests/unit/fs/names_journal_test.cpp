#include "fs/names_journal.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/golden.h"
#include "support/image_store.h"
#include "support/temp_dir.h"

namespace stellarium::fs {
namespace {

constexpr NamesJournal::Uuid kUuid{std::byte{1}, std::byte{2}, std::byte{3}};

JournalRecord published(std::uint64_t sequence, const std::string& name) {
  JournalRecord record;
  record.sequence = sequence;
  record.kind = JournalRecord::Kind::publish;
  record.when = {1'700'000'000, 5};
  record.name = {name, "latest"};
  record.image = Image{.name = record.name,
                       .layer = static_cast<LayerId>(sequence),
                       .tree = 7,
                       .manifest = cas::hash_of(as_bytes(name)),
                       .manifest_size = 100,
                       .files = 10,
                       .bytes = 1000,
                       .created = {1'700'000'000, 1},
                       .source = "web.tar"};
  record.detail = "web.tar";
  return record;
}
JournalRecord renamed(std::uint64_t sequence, const std::string& from, const std::string& to) {
  JournalRecord record;
  record.sequence = sequence;
  record.kind = JournalRecord::Kind::rename;
  record.name = {from, "latest"};
  record.to = {to, "v2"};
  return record;
}
JournalRecord removed(std::uint64_t sequence, const std::string& name) {
  JournalRecord record;
  record.sequence = sequence;
  record.kind = JournalRecord::Kind::remove;
  record.name = {name, "latest"};
  return record;
}

JournalRecord of_clone(std::uint64_t sequence, JournalRecord::Kind kind, const std::string& clone,
                       const std::string& snapshot = "latest") {
  JournalRecord record;
  record.sequence = sequence;
  record.kind = kind;
  record.when = {1'700'000'000, 7};
  record.name = {clone, snapshot};
  record.image.layer = static_cast<LayerId>(sequence);
  record.image.tree = 9;
  record.detail = "web:latest";
  return record;
}

std::string example() {
  return NamesJournal::encode_header(kUuid) + NamesJournal::encode_record(kUuid, published(1, "web")) +
         NamesJournal::encode_record(kUuid, published(2, "db")) +
         NamesJournal::encode_record(kUuid, renamed(3, "web", "www")) +
         NamesJournal::encode_record(kUuid, removed(4, "db"));
}

TEST(NamesJournal, SaysWhatTheNamesAreAfterAllRecords) {
  const auto parsed = NamesJournal::parse(example());
  ASSERT_TRUE(parsed) << to_string(parsed.error());
  EXPECT_EQ(parsed->records.size(), 4u);
  EXPECT_TRUE(parsed->damage.empty());
  const ReplayedNames names = replay(parsed->records);
  ASSERT_EQ(names.size(), 1u);
  EXPECT_EQ(names.begin()->first.text(), "www:v2");
  EXPECT_EQ(names.begin()->second.name.text(), "www:v2");
  EXPECT_EQ(names.begin()->second.manifest, cas::hash_of(as_bytes("web")));
}

std::string example_with_clones() {
  return example() + NamesJournal::encode_record(kUuid, of_clone(5, JournalRecord::Kind::clone, "vm1")) +
         NamesJournal::encode_record(kUuid, of_clone(6, JournalRecord::Kind::clone, "vm2")) +
         NamesJournal::encode_record(kUuid, of_clone(7, JournalRecord::Kind::snapshot, "vm1", "monday")) +
         NamesJournal::encode_record(kUuid, of_clone(8, JournalRecord::Kind::snapshot, "vm1", "latest")) +
         NamesJournal::encode_record(kUuid, of_clone(9, JournalRecord::Kind::remove_clone, "vm2")) +
         NamesJournal::encode_record(kUuid, of_clone(10, JournalRecord::Kind::remove_snapshot, "vm1", "monday"));
}

TEST(NamesJournal, SaysWhichClonesAndSnapshotsThereAre) {
  const auto parsed = NamesJournal::parse(example_with_clones());
  ASSERT_TRUE(parsed) << to_string(parsed.error());
  EXPECT_TRUE(parsed->damage.empty());
  EXPECT_EQ(replay(parsed->records).size(), 1u);
  const ReplayedClones clones = replay_clones(parsed->records);
  ASSERT_EQ(clones.size(), 2u);
  EXPECT_EQ(clones.at({"vm1", ""}).detail, "web:latest");
  EXPECT_EQ(clones.at({"vm1", ""}).image.layer, 5u);
  EXPECT_TRUE(clones.contains({"vm1", "latest"})) << "a snapshot may have any name";
}

TEST(NamesJournal, OfVersionOneIsReadAndGoesOnAsOneOfThePresent) {
  const test::TempDir dir;
  const auto file = dir / "names.journal";
  std::string old = example();
  old[8] = 1;
  std::ofstream{file, std::ios::binary} << old;
  NamesJournal journal = test::must(NamesJournal::open(system_io(), file));
  test::must(journal.append_all(
      {of_clone(0, JournalRecord::Kind::clone, "a"), of_clone(0, JournalRecord::Kind::clone, "b")}, false));
  const auto parsed = test::must(journal.read());
  EXPECT_EQ(parsed.records.size(), 6u);
  EXPECT_EQ(parsed.records[5].sequence, 6u);
  std::ifstream in{file, std::ios::binary};
  const std::string bytes{std::istreambuf_iterator<char>{in}, {}};
  EXPECT_EQ(bytes[8], 2) << "programs from before must not take its new records for damage";
}

TEST(NamesJournal, IsWrittenAnewWithSomeOfItsRecords) {
  const test::TempDir dir;
  const auto file = dir / "names.journal";
  std::ofstream{file, std::ios::binary} << example_with_clones();
  NamesJournal journal = test::must(NamesJournal::open(system_io(), file));
  auto records = test::must(journal.read()).records;
  std::erase_if(records, [](const JournalRecord& record) { return record.name.name == "vm2"; });
  test::must(journal.rewrite(records));
  test::must(journal.append(published(9, "next")));
  NamesJournal again = test::must(NamesJournal::open(system_io(), file));
  const auto parsed = test::must(again.read());
  EXPECT_TRUE(parsed.damage.empty());
  EXPECT_EQ(parsed.records.size(), 9u);
  EXPECT_EQ(parsed.records.back().sequence, 11u);
}

TEST(NamesJournal, CutAnywhereKeepsEveryWholeRecord) {
  const std::string whole = example();
  std::size_t last = 0;
  for (std::size_t size = NamesJournal::kHeaderSize; size <= whole.size(); ++size) {
    const auto parsed = NamesJournal::parse(whole.substr(0, size));
    ASSERT_TRUE(parsed);
    EXPECT_GE(parsed->records.size(), last);
    EXPECT_TRUE(parsed->damage.empty());
    last = parsed->records.size();
  }
  EXPECT_EQ(last, 4u);
}

TEST(NamesJournal, AFlippedBitCostsOneRecordAndIsReported) {
  const std::string whole = example();
  for (std::size_t at = NamesJournal::kHeaderSize; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    const auto parsed = NamesJournal::parse(bytes);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->records.size(), 3u) << at;
    EXPECT_TRUE(!parsed->damage.empty() || parsed->end < bytes.size()) << at;
  }
}

TEST(NamesJournal, RecordsOfAnotherJournalOrFromThePastAreNotTaken) {
  const std::string foreign =
      NamesJournal::encode_header(NamesJournal::Uuid{}) + example().substr(NamesJournal::kHeaderSize);
  EXPECT_TRUE(NamesJournal::parse(foreign)->records.empty());
  const std::string repeated = example() + NamesJournal::encode_record(kUuid, published(2, "db"));
  const auto parsed = NamesJournal::parse(repeated);
  EXPECT_EQ(parsed->records.size(), 4u);
  EXPECT_EQ(parsed->damage.size(), 1u);
}

TEST(NamesJournal, OfAnotherVersionIsRefusedWithBothNamed) {
  std::string bytes = example();
  bytes[8] = 3;
  EXPECT_EQ(NamesJournal::parse(bytes).error().code, Errc::version);
  EXPECT_EQ(NamesJournal::parse("PNG").error().code, Errc::corrupt);
}

TEST(NamesJournal, AppendsBehindATailThatACrashLeft) {
  const test::TempDir dir;
  const auto file = dir / "names.journal";
  {
    NamesJournal journal = test::must(NamesJournal::open(system_io(), file));
    test::must(journal.append(published(9, "web")));
  }
  std::ofstream{file, std::ios::binary | std::ios::app} << "SLRN half a record";
  NamesJournal journal = test::must(NamesJournal::open(system_io(), file));
  test::must(journal.append(published(9, "db")));
  const auto parsed = test::must(journal.read());
  EXPECT_EQ(parsed.records.size(), 2u);
  EXPECT_TRUE(parsed.damage.empty());
  EXPECT_EQ(parsed.records[1].sequence, 2u);
}

TEST(NamesJournal, IsWrittenAsInVersionTwo) {
  EXPECT_EQ(example_with_clones(), test::golden_or_write("names-journal-v2.bin", example_with_clones()));
}

TEST(NamesJournal, RecordsAreThoseOfVersionOne) {
  std::string old = example();
  old[8] = 1;
  EXPECT_EQ(old, test::golden_or_write("names-journal-v1.bin", old));
}

}  // namespace
}  // namespace stellarium::fs
