#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "cas/content_store.h"
#include "cas/segment_format.h"
#include "store_fixture.h"
#include "support/sanitized.h"

namespace stellarium::cas {
namespace {

using test::Bytes;
using test::random_bytes;
using test::TestStore;
using test::text_bytes;

void flip(const std::filesystem::path& path, std::uint64_t offset, int bit = 0) {
  std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
  file.seekg(static_cast<std::streamoff>(offset));
  const int byte = file.get() ^ (1 << bit);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(static_cast<char>(byte));
}

struct Filled {
  std::vector<Bytes> contents;
  std::vector<ContentId> ids;
};
/// A closed store of one finished segment that holds frames, packs and recipes.
Filled fill_and_close(TestStore& store) {
  Filled filled;
  for (const std::size_t size : {700u, 9000u, 30'000u, 120'000u, 400'000u})
    filled.contents.push_back(text_bytes(size, size));
  filled.contents.push_back(random_bytes(1, 250'000));
  for (const Bytes& data : filled.contents) filled.ids.push_back(test::store(*store, data));
  store.close();
  return filled;
}

std::vector<ContentStore::Damage> damage(TestStore& store, bool deep) {
  const auto report = store->check(deep, {});
  if (!report) throw std::runtime_error(to_string(report.error()));
  return report->damage;
}

TEST(Check, FindsNothingInASoundStore) {
  TestStore store;
  fill_and_close(store);
  store.open();
  const auto report = store->check(/*deep=*/true, {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->damage.empty());
  EXPECT_EQ(report->segments, 1u);
  EXPECT_EQ(report->chunks, store->stats().chunks);
}

TEST(Check, NoFlippedBitAnywhereInASegmentGivesWrongBytesAndDeepFindsIt) {
  TestStore store;
  const Filled filled = fill_and_close(store);
  const auto path = store.segments() / "00000001.seg";
  const auto size = std::filesystem::file_size(path);
  // Header, first container's header, index and data, steps through the rest, footer entries and trailer.
  std::set<std::uint64_t> offsets{0,   9,   20,  40,       64,        72,        84,       100,
                                  128, 150, 170, size - 1, size - 30, size - 60, size - 70};
  for (std::uint64_t at = 200; at < size; at += size / static_cast<unsigned>(test::rounds(60))) offsets.insert(at);
  for (const std::uint64_t at : offsets) {
    flip(path, at, static_cast<int>(at % 8));
    store.open();
    const auto found = damage(store, /*deep=*/true);
    bool any_missing = false;
    for (std::size_t n = 0; n < filled.ids.size(); ++n) {
      const auto read = test::read(*store, filled.ids[n], filled.contents[n].size());
      if (read)
        EXPECT_TRUE(*read == filled.contents[n]) << "byte " << at;
      else
        EXPECT_EQ(read.error().code, Errc::corrupt) << "byte " << at << ": " << to_string(read.error());
      any_missing = any_missing || !read;
    }
    EXPECT_FALSE(found.empty()) << "byte " << at;
    const bool names_chunks = std::ranges::any_of(found, [](const auto& one) { return !one.chunks.empty(); });
    EXPECT_EQ(names_chunks, any_missing) << "byte " << at;
    store.drop();
    flip(path, at, static_cast<int>(at % 8));
  }
  store.open();
  EXPECT_TRUE(damage(store, true).empty());
}

TEST(Check, NoticesAMissingSegment) {
  TestStore store;
  const Filled filled = fill_and_close(store);
  std::filesystem::remove(store.segments() / "00000001.seg");
  store.open();
  const auto found = damage(store, false);
  ASSERT_FALSE(found.empty());
  EXPECT_NE(found[0].what.find("00000001.seg"), std::string::npos);
  std::size_t chunks = 0;
  for (const auto& one : found) chunks += one.chunks.size();
  EXPECT_EQ(chunks, store->stats().chunks);
  EXPECT_EQ(store->fetch(filled.ids[0]).error().code, Errc::corrupt);
  EXPECT_EQ(store->stats().corrupt_reads, 1u);
}

TEST(Check, NoticesBytesAfterTheEndAndATornEnd) {
  TestStore store;
  fill_and_close(store);
  const auto path = store.segments() / "00000001.seg";
  const auto size = std::filesystem::file_size(path);
  for (const auto changed : {size + 1, size + 4096, size - 1, size - 1000, size / 2}) {
    std::filesystem::copy_file(path, store.dir() / "sound");
    std::filesystem::resize_file(path, changed);
    store.open();
    EXPECT_FALSE(damage(store, false).empty()) << changed << " of " << size;
    store.drop();
    std::filesystem::rename(store.dir() / "sound", path);
  }
}

TEST(Check, NoticesAFileThatTheDatabaseDoesNotKnowAndKeepsIt) {
  TestStore store;
  fill_and_close(store);
  std::filesystem::copy_file(store.segments() / "00000001.seg", store.segments() / "00000007.seg");
  store.open();
  const auto found = damage(store, false);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_NE(found[0].what.find("00000007.seg"), std::string::npos);
  test::store(*store, random_bytes(50, 100'000));
  EXPECT_TRUE(std::filesystem::exists(store.segments() / "00000007.seg"));
  EXPECT_TRUE(std::filesystem::exists(store.segments() / "00000008.seg"));
}

TEST(Check, NamesTheContentOfADamagedRecipe) {
  TestStore store;
  const Filled filled = fill_and_close(store);
  store.open();
  const std::string key = recipe_page_key(filled.ids[4], 0);
  std::string page = **store.database().get(kRecipeFamily, key);
  page[page.size() / 2] ^= 1;
  Database::Batch batch;
  batch.put(kRecipeFamily, key, page);
  ASSERT_TRUE(store.database().write(std::move(batch), Database::Sync::no));
  const auto found = damage(store, false);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_FALSE(found[0].chunks.empty());
  EXPECT_FALSE(test::read(*store, filled.ids[4], filled.contents[4].size()));
}

TEST(Check, NamesContentsWhoseChunksAreGone) {
  TestStore store;
  const Filled filled = fill_and_close(store);
  store.open();
  const auto recipe = store->recipe(filled.ids[3], filled.contents[3].size());
  ASSERT_TRUE(recipe);
  Database::Batch batch;
  batch.erase(kChunkFamily, recipe->entries[1].id.text());
  ASSERT_TRUE(store.database().write(std::move(batch), Database::Sync::no));
  const auto found = damage(store, false);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_NE(found[0].what.find(filled.ids[3].hex()), std::string::npos);
  EXPECT_EQ(found[0].chunks, std::vector<ChunkId>{recipe->entries[1].id});
}

}  // namespace
}  // namespace stellarium::cas
