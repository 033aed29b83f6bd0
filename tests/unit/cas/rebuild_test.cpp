#include <filesystem>
#include <fstream>

#include "cas/content_store.h"
#include "store_fixture.h"

namespace stellarium::cas {
namespace {

using test::Bytes;
using test::expect_all;
using test::live;
using test::random_bytes;
using test::TestStore;
using test::text_bytes;

std::vector<Bytes> fill_mixed(TestStore& store) {
  std::vector<Bytes> contents;
  for (std::uint64_t n = 0; n < 25; ++n)
    contents.push_back(n % 3 == 0 ? text_bytes(n, 3000 + n) : random_bytes(n, 150'000));
  for (const Bytes& data : contents) test::store(*store, data);
  return contents;
}

void lose_database(TestStore& store) {
  std::filesystem::remove_all(store.dir() / "db");
}

TEST(Rebuild, BringsEverythingBackFromFinishedSegments) {
  TestStore store;
  const auto contents = fill_mixed(store);
  const auto chunks = store->stats().chunks;
  store.close();
  lose_database(store);
  store.open();
  EXPECT_FALSE(store->check(false, {})->damage.empty());  // nothing is deleted that the database does not know
  ASSERT_TRUE(store->rebuild({}));
  EXPECT_EQ(store->stats().chunks, chunks);
  expect_all(store, contents);
}

TEST(Rebuild, TakesUnfinishedSegmentsUpToTheirTornEnd) {
  TestStore store;
  auto contents = fill_mixed(store);
  store.drop();
  lose_database(store);
  const auto last = store.segments() / "00000003.seg";
  ASSERT_TRUE(std::filesystem::exists(last));
  std::filesystem::resize_file(last, std::filesystem::file_size(last) - 10);  // cuts the last recipe's container
  store.open();
  ASSERT_TRUE(store->rebuild({}));
  contents.pop_back();
  for (const Bytes& data : contents) EXPECT_TRUE(test::read(*store, hash_of(data), data.size()).value() == data);
  store.close();
  store.open();
  expect_all(store, contents);
  test::store(*store, random_bytes(99, 300'000));
  expect_all(store, contents);
}

TEST(Rebuild, DamageInAnUnfinishedSegmentCostsNothingBehindIt) {
  TestStore store;
  const Bytes first = random_bytes(1, 60'000), second = random_bytes(2, 60'000);
  test::store(*store, first);
  test::store(*store, second);
  store.drop();
  lose_database(store);
  std::fstream file{store.segments() / "00000001.seg", std::ios::in | std::ios::out | std::ios::binary};
  file.seekp(30'000);
  file.put(static_cast<char>(first[30'000] ^ std::byte{1}));
  file.close();
  store.open();
  ASSERT_TRUE(store->rebuild({}));
  EXPECT_FALSE(test::read(*store, hash_of(first), first.size()));
  EXPECT_TRUE(test::read(*store, hash_of(second), second.size()).value() == second);
}

TEST(Rebuild, GarbageThatCameBackIsCollectedAgain) {
  TestStore store;
  const Bytes kept = random_bytes(60, 200'000), dropped = random_bytes(61, 200'000);
  test::store(*store, kept);
  test::store(*store, dropped);
  const auto roots = live({{hash_of(kept), kept.size()}});
  ASSERT_TRUE(store->collect(roots, false, false, {}));
  store.close();
  lose_database(store);
  store.open();
  ASSERT_TRUE(store->rebuild({}));
  ASSERT_TRUE(store->collect(roots, false, false, {}));
  expect_all(store, {kept});
  EXPECT_EQ(store->recipe(hash_of(dropped), dropped.size()).error().code, Errc::not_found);
}

TEST(Rebuild, RefusesADatabaseThatHasSomething) {
  TestStore store;
  fill_mixed(store);
  EXPECT_EQ(store->rebuild({}).error().code, Errc::exists);
}

}  // namespace
}  // namespace stellarium::cas
