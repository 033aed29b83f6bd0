#include "cas/database.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/bytes.h"
#include "support/temp_dir.h"

namespace stellarium::cas {
namespace {

constexpr Family kPlain{"plain"};
constexpr Family kPrefixed{"prefixed", 4};
constexpr std::array kBoth{&kPlain, &kPrefixed};

std::unique_ptr<Database> must_open(const std::filesystem::path& dir, std::span<const Family* const> families = kBoth) {
  auto database = Database::open(dir, families, Database::Options{});
  if (!database) throw std::runtime_error(to_string(database.error()));
  return std::move(*database);
}

void put(Database& database, const Family& family, std::string_view key, std::string_view value) {
  Database::Batch batch;
  batch.put(family, key, value);
  ASSERT_TRUE(database.write(std::move(batch), Database::Sync::no));
}

std::vector<std::string> keys(const Database& database, const Family& family, std::string_view lower,
                              std::string_view upper) {
  std::vector<std::string> found;
  const auto cursor = database.scan(family, lower, upper);
  for (; cursor->valid(); cursor->next()) found.emplace_back(cursor->key());
  EXPECT_TRUE(cursor->status());
  return found;
}

std::string numbered(std::uint32_t prefix, std::uint32_t number) {
  std::string key;
  put_be(key, prefix);
  put_be(key, number);
  return key;
}

TEST(Database, KeepsWhatWasWrittenAcrossReopening) {
  const test::TempDir dir;
  {
    const auto database = must_open(dir / "db");
    put(*database, kPlain, "key", std::string("a\0b", 3));
    ASSERT_TRUE(database->sync());
  }
  const auto database = must_open(dir / "db");
  EXPECT_EQ(database->get(kPlain, "key").value(), std::string("a\0b", 3));
  EXPECT_EQ(database->get(kPlain, "other").value(), std::nullopt);
  EXPECT_EQ(database->get(kPrefixed, "key").value(), std::nullopt);
}

TEST(Database, ABatchErasesAndPutsTogether) {
  const test::TempDir dir;
  const auto database = must_open(dir / "db");
  put(*database, kPlain, "old", "1");
  Database::Batch batch;
  batch.erase(kPlain, "old");
  batch.put(kPlain, "new", "2");
  EXPECT_EQ(batch.bytes(), 7u);
  ASSERT_TRUE(database->write(std::move(batch), Database::Sync::yes));
  EXPECT_EQ(keys(*database, kPlain, "", ""), std::vector<std::string>{"new"});
}

TEST(Database, AScanStaysInsideItsRange) {
  const test::TempDir dir;
  const auto database = must_open(dir / "db");
  for (std::uint32_t prefix = 1; prefix <= 3; ++prefix)
    for (std::uint32_t n = 0; n < 3; ++n) put(*database, kPrefixed, numbered(prefix, n), "");
  EXPECT_EQ(keys(*database, kPrefixed, numbered(2, 0), numbered(3, 0)).size(), 3u);
  EXPECT_EQ(keys(*database, kPrefixed, numbered(2, 1), numbered(2, 2)).size(), 1u);
  EXPECT_EQ(keys(*database, kPrefixed, numbered(1, 2), numbered(3, 1)).size(), 5u);
  EXPECT_EQ(keys(*database, kPrefixed, "", "").size(), 9u);

  std::string upper;  // the end of prefix 2, as a caller writes it who has only the prefix
  put_be(upper, std::uint32_t{3});
  const auto cursor = database->scan(kPrefixed, numbered(2, 0), upper);
  cursor->seek(numbered(3, 1));
  EXPECT_FALSE(cursor->valid());
  cursor->seek(numbered(1, 0));
  ASSERT_TRUE(cursor->valid());
  EXPECT_EQ(cursor->key(), numbered(2, 0));
}

TEST(Database, APrefixScanFindsKeysInTablesToo) {
  const test::TempDir dir;
  const auto database = must_open(dir / "db");
  for (std::uint32_t prefix = 1; prefix <= 100; ++prefix) put(*database, kPrefixed, numbered(prefix, 7), "");
  ASSERT_TRUE(database->flush());
  EXPECT_EQ(keys(*database, kPrefixed, numbered(50, 0), numbered(51, 0)).size(), 1u);
  EXPECT_EQ(keys(*database, kPrefixed, numbered(500, 0), numbered(501, 0)).size(), 0u);
}

TEST(Database, ACursorSeesTheMomentItWasMadeAndOutlivesTheDatabase) {
  const test::TempDir dir;
  auto database = must_open(dir / "db");
  put(*database, kPlain, "a", "1");
  const auto cursor = database->scan(kPlain, "", "");
  put(*database, kPlain, "b", "2");
  database.reset();
  ASSERT_TRUE(cursor->valid());
  EXPECT_EQ(cursor->value(), "1");
  cursor->next();
  EXPECT_FALSE(cursor->valid());
}

TEST(Database, IngestMovesATableIn) {
  const test::TempDir dir;
  const auto database = must_open(dir / "db");
  const auto file = dir / "table.sst";
  {
    auto table = database->build_table(kPrefixed, file);
    ASSERT_TRUE(table);
    for (std::uint32_t n = 0; n < 1000; ++n) ASSERT_TRUE((*table)->add(numbered(9, n), "value"));
    EXPECT_FALSE((*table)->add(numbered(9, 5), "not ascending"));
    ASSERT_TRUE((*table)->finish());
    EXPECT_EQ((*table)->entries(), 1000u);
  }
  ASSERT_TRUE(database->ingest(std::vector<Database::Tables>{{&kPrefixed, {file}}}));
  EXPECT_FALSE(std::filesystem::exists(file));
  EXPECT_EQ(keys(*database, kPrefixed, numbered(9, 0), numbered(10, 0)).size(), 1000u);
}

TEST(Database, EraseRangeRemovesFewAndManyKeys) {
  for (const std::uint32_t count : {10u, 5000u}) {
    const test::TempDir dir;
    const auto database = must_open(dir / "db");
    Database::Batch batch;
    for (std::uint32_t prefix = 1; prefix <= 3; ++prefix)
      for (std::uint32_t n = 0; n < count; ++n) batch.put(kPrefixed, numbered(prefix, n), "");
    ASSERT_TRUE(database->write(std::move(batch), Database::Sync::no));
    ASSERT_TRUE(database->erase_range(kPrefixed, numbered(2, 0), numbered(3, 0)));
    EXPECT_EQ(keys(*database, kPrefixed, "", "").size(), 2 * count);
    ASSERT_TRUE(database->erase_range(kPrefixed, numbered(2, 0), ""));
    EXPECT_EQ(keys(*database, kPrefixed, "", "").size(), count);
  }
}

TEST(Database, RefusesFamiliesItDoesNotKnow) {
  const test::TempDir dir;
  must_open(dir / "db");
  const std::array one{&kPlain};
  const auto database = Database::open(dir / "db", one, Database::Options{});
  ASSERT_FALSE(database);
  EXPECT_EQ(database.error().code, Errc::version);
  EXPECT_NE(database.error().context.find("prefixed"), std::string::npos);
}

TEST(Database, RefusesToBeOpenedTwice) {
  const test::TempDir dir;
  const auto first = must_open(dir / "db");
  const auto second = Database::open(dir / "db", kBoth, Database::Options{});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
}

TEST(Database, ReadOnlyRefusesWritesAndReads) {
  const test::TempDir dir;
  put(*must_open(dir / "db"), kPlain, "a", "1");
  auto database = Database::open(dir / "db", kBoth, Database::Options{.read_only = true});
  ASSERT_TRUE(database);
  EXPECT_EQ((*database)->get(kPlain, "a").value(), "1");
  Database::Batch batch;
  batch.put(kPlain, "b", "2");
  EXPECT_EQ((*database)->write(std::move(batch), Database::Sync::no).error().code, Errc::permission);
}

TEST(Database, ACleanStopLeavesNoLog) {
  const test::TempDir dir;
  put(*must_open(dir / "db"), kPlain, "a", std::string(1000, 'x'));
  std::uintmax_t log_bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "db"))
    if (entry.path().extension() == ".log") log_bytes += entry.file_size();
  EXPECT_EQ(log_bytes, 0u);
}

TEST(Database, ACheckpointIsADatabaseOfItsOwn) {
  const test::TempDir dir;
  const auto database = must_open(dir / "db");
  put(*database, kPlain, "a", "then");
  ASSERT_TRUE(database->checkpoint(dir / "copy"));
  put(*database, kPlain, "a", "now");
  EXPECT_EQ(must_open(dir / "copy")->get(kPlain, "a").value(), "then");
}

TEST(Database, ConcurrentSyncsAllSucceed) {
  const test::TempDir dir;
  const auto database = must_open(dir / "db");
  std::vector<std::jthread> threads;
  for (char name = 'a'; name < 'i'; ++name)
    threads.emplace_back([&database, name] {
      for (int n = 0; n < 20; ++n) {
        put(*database, kPlain, std::string(1, name), std::to_string(n));
        ASSERT_TRUE(database->sync());
      }
    });
  threads.clear();
  EXPECT_EQ(keys(*database, kPlain, "", "").size(), 8u);
}

TEST(Database, VerifyFindsAFlippedBitInATable) {
  const test::TempDir dir;
  {
    const auto database = must_open(dir / "db");
    for (std::uint32_t n = 0; n < 1000; ++n) put(*database, kPlain, numbered(n, n), std::string(100, 'v'));
    ASSERT_TRUE(database->flush());
    ASSERT_TRUE(database->verify());
  }
  for (const auto& entry : std::filesystem::directory_iterator(dir / "db"))
    if (entry.path().extension() == ".sst") {
      std::fstream file{entry.path(), std::ios::in | std::ios::out | std::ios::binary};
      file.seekg(500);
      const auto byte = static_cast<char>(file.get() ^ 0x10);
      file.seekp(500);
      file.put(byte);
    }
  const auto database = must_open(dir / "db");
  ASSERT_FALSE(database->verify());
  EXPECT_EQ(database->verify().error().code, Errc::corrupt);
}

TEST(Database, CompactKeepsEverything) {
  const test::TempDir dir;
  const auto database = must_open(dir / "db");
  for (std::uint32_t n = 0; n < 1000; ++n) put(*database, kPlain, numbered(1, n), "v");
  ASSERT_TRUE(database->compact());
  EXPECT_EQ(keys(*database, kPlain, "", "").size(), 1000u);
  EXPECT_GT(database->stats().table_bytes, 0u);
}

}  // namespace
}  // namespace stellarium::cas
