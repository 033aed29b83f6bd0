#include "cas/content_store.h"

#include <algorithm>
#include <filesystem>
#include <thread>

#include "store_fixture.h"
#include "support/file_text.h"

namespace stellarium::cas {
namespace {

using test::Bytes;
using test::random_bytes;
using test::TestStore;
using test::text_bytes;

TEST(ContentStore, GivesBackContentsOfEverySize) {
  TestStore store;
  for (const std::size_t size : {0u, 1u, 4095u, 16'384u, 16'385u, 65'536u, 65'537u, 300'000u, 5'000'000u}) {
    const Bytes data = text_bytes(size, size);
    const ContentId id = test::store(*store, data);
    EXPECT_EQ(id, hash_of(data)) << size;
    const auto read = test::read(*store, id, size);
    ASSERT_TRUE(read) << size << ": " << to_string(read.error());
    EXPECT_TRUE(*read == data) << size;
  }
}

TEST(ContentStore, KeepsContentsAcrossReopening) {
  TestStore store;
  const Bytes small = text_bytes(1, 1000), large = random_bytes(2, 3'000'000);
  const ContentId small_id = test::store(*store, small), large_id = test::store(*store, large);
  for (int round = 0; round < 3; ++round) {
    round == 1 ? store.drop() : store.close();
    store.open();
    EXPECT_TRUE(test::read(*store, small_id, small.size()).value() == small);
    EXPECT_TRUE(test::read(*store, large_id, large.size()).value() == large);
    test::store(*store, text_bytes(static_cast<std::uint64_t>(round) + 10, 2000));
  }
}

TEST(ContentStore, StoresNothingTwice) {
  TestStore store;
  const Bytes data = random_bytes(3, 2'000'000);
  test::store(*store, data);
  const auto before = store->stats();
  const auto session = store->begin_session();
  ASSERT_TRUE(test::write(*session, data));
  ASSERT_TRUE(test::write(*session, ByteSpan{data}.first(10'000)));
  ASSERT_TRUE(test::write(*session, ByteSpan{data}.first(10'000), Placement::program));
  ASSERT_TRUE(session->commit());
  EXPECT_EQ(session->totals().bytes_in, 2'020'000u);
  EXPECT_EQ(session->totals().bytes_new, 10'000u);
  EXPECT_EQ(store->stats().chunks, before.chunks + 1);
}

TEST(ContentStore, AdoptsOnlyWhatIsWhollyThere) {
  TestStore store;
  const Bytes large = random_bytes(4, 1'000'000), small = text_bytes(4, 5000);
  test::store(*store, large);
  const auto session = store->begin_session();
  EXPECT_TRUE(session->adopt(hash_of(large), large.size()).value());
  EXPECT_FALSE(session->adopt(hash_of(small), small.size()).value());
  ASSERT_TRUE(test::write(*session, small));
  EXPECT_TRUE(session->adopt(hash_of(small), small.size()).value());
  EXPECT_TRUE(session->adopt(hash_of({}), 0).value());
}

TEST(ContentStore, WhatIsStoredDoesNotDependOnTheNumberOfWorkers) {
  std::vector<std::string> images;
  for (const unsigned workers : {1u, 2u, 7u}) {
    auto options = TestStore::small();
    options.workers = workers;
    TestStore store{options};
    {
      const auto session = store->begin_session();
      for (std::uint64_t n = 0; n < 300; ++n)
        ASSERT_TRUE(test::write(*session, text_bytes(n, (n * 7919) % 100'000),
                                n % 5 == 0 ? Placement::program : Placement::data));
      ASSERT_TRUE(session->commit());
    }
    store.close();
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(store.segments())) files.push_back(entry.path());
    std::ranges::sort(files);
    std::string image;
    for (const auto& file : files) image += test::file_text(file);
    images.push_back(std::move(image));
  }
  EXPECT_GT(images[0].size(), 1'000'000u);
  EXPECT_TRUE(images[0] == images[1]);
  EXPECT_TRUE(images[0] == images[2]);
}

TEST(ContentStore, HolesGiveTheSameContentAsZeros) {
  TestStore store;
  Bytes data = random_bytes(5, 6'000'000);
  std::fill(data.begin() + 100'000, data.begin() + 5'500'000, std::byte{0});
  const auto session = store->begin_session();
  const auto writer = session->begin(Placement::data);
  ASSERT_TRUE(writer->append(ByteSpan{data}.first(100'000)));
  ASSERT_TRUE(writer->append_zeros(5'400'000));
  ASSERT_TRUE(writer->append(ByteSpan{data}.subspan(5'500'000)));
  const auto sparse = writer->finish();
  ASSERT_TRUE(sparse);
  ASSERT_TRUE(session->commit());
  EXPECT_EQ(*sparse, hash_of(data));
  const auto recipe = store->recipe(*sparse, data.size());
  ASSERT_TRUE(recipe);
  EXPECT_EQ(recipe->id(), store->recipe(test::store(*store, data), data.size())->id());
  EXPECT_TRUE(test::read(*store, *sparse, data.size()).value() == data);
}

TEST(ContentStore, AnEnormousHoleIsOneEntry) {
  TestStore store;
  const auto session = store->begin_session();
  const auto writer = session->begin(Placement::data);
  ASSERT_TRUE(writer->append_zeros(1u << 30));
  const auto id = writer->finish();
  ASSERT_TRUE(id);
  ASSERT_TRUE(session->commit());
  const auto recipe = store->recipe(*id, 1u << 30);
  ASSERT_TRUE(recipe);
  ASSERT_EQ(recipe->entries.size(), 1u);
  EXPECT_EQ(recipe->entries[0].repeat, (1u << 30) / kMaxChunk);
  EXPECT_LT(store->stats().segment_bytes, 10'000u);
}

TEST(ContentStore, SessionsWithEqualContentStoreItOnceAndBothHaveIt) {
  TestStore store;
  constexpr int kContents = 60;
  const auto import = [&](std::uint64_t* stored) {
    const auto session = store->begin_session();
    for (std::uint64_t n = 0; n < kContents; ++n)
      ASSERT_TRUE(test::write(*session, random_bytes(n, 40'000 + n * 3000)));
    ASSERT_TRUE(session->commit());
    for (std::uint64_t n = 0; n < kContents; ++n) {
      const Bytes data = random_bytes(n, 40'000 + n * 3000);
      EXPECT_TRUE(test::read(*store, hash_of(data), data.size()).value() == data);
    }
    *stored = session->totals().bytes_new;
  };
  std::uint64_t first = 0, second = 0, all = 0;
  { const std::jthread one{import, &first}, two{import, &second}; }
  for (std::uint64_t n = 0; n < kContents; ++n) all += 40'000 + n * 3000;
  EXPECT_EQ(first + second, all);
}

TEST(ContentStore, ASessionMayRelyOnChunksOfOneThatIsDroppedLater) {
  TestStore store;
  const Bytes data = random_bytes(6, 200'000);
  auto first = store->begin_session();
  ASSERT_TRUE(test::write(*first, data));
  const auto second = store->begin_session();
  ASSERT_TRUE(test::write(*second, data));
  EXPECT_EQ(second->totals().bytes_new, 0u);
  first.reset();
  ASSERT_TRUE(second->commit());
  EXPECT_TRUE(test::read(*store, hash_of(data), data.size()).value() == data);
}

TEST(ContentStore, ADroppedSessionLeavesNoContent) {
  TestStore store;
  const Bytes data = random_bytes(7, 200'000);
  {
    const auto session = store->begin_session();
    ASSERT_TRUE(test::write(*session, data));
  }
  EXPECT_EQ(store->recipe(hash_of(data), data.size()).error().code, Errc::not_found);
}

TEST(ContentStore, WhatIsWrittenWhileACommitHasBegunIsCommittedToo) {
  TestStore store;
  const Bytes before = random_bytes(21, 2'000'000), after = text_bytes(22, 300'000);
  {
    const auto session = store->begin_session();
    ASSERT_TRUE(test::write(*session, before));
    session->begin_commit();
    ASSERT_TRUE(test::write(*session, after));
    ASSERT_TRUE(session->commit());
  }
  store.drop();
  store.open();
  test::expect_content(store, before);
  test::expect_content(store, after);
}

TEST(ContentStore, ASessionMayEndWhileItsCommitHasBegun) {
  TestStore store;
  {
    const auto session = store->begin_session();
    ASSERT_TRUE(test::write(*session, random_bytes(23, 2'000'000)));
    session->begin_commit();
  }
  test::store(*store, text_bytes(24, 1000));
}

TEST(ContentStore, FillsSegmentsOneAfterAnotherAndReusesTheLast) {
  TestStore store;
  for (std::uint64_t n = 0; n < 30; ++n) test::store(*store, random_bytes(n, 100'000));
  const auto stats = store->stats();
  EXPECT_GE(stats.segment_bytes, 3'000'000u);
  EXPECT_LE(stats.segments, 4u);
}

TEST(ContentStore, UnknownChunksAndContentsAreNotFound) {
  TestStore store;
  EXPECT_EQ(store->fetch(hash_of(as_bytes("x"))).error().code, Errc::not_found);
  EXPECT_EQ(store->recipe(hash_of(as_bytes("x")), 100'000).error().code, Errc::not_found);
  EXPECT_FALSE(store->has_chunk(hash_of(as_bytes("x"))).value());
  EXPECT_EQ(store->chunk_size(hash_of(as_bytes("x"))).value(), std::nullopt);
}

TEST(ContentStore, RefusesARecipeOfAnotherSize) {
  TestStore store;
  const Bytes data = random_bytes(8, 100'000);
  const ContentId id = test::store(*store, data);
  EXPECT_EQ(store->recipe(id, 100'001).error().code, Errc::corrupt);
}

TEST(ContentStore, RefusesSegmentsOfAnotherStore) {
  TestStore store;
  const Bytes data = text_bytes(9, 5000);
  const ContentId id = test::store(*store, data);
  store.drop();
  auto database = Database::open(store.dir() / "db", kFamilies, Database::Options{});
  ASSERT_TRUE(database);
  auto options = TestStore::small();
  options.store[0] = std::byte{1};
  auto other = ContentStore::open(**database, system_io(), store.segments(), options);
  ASSERT_TRUE(other);
  EXPECT_EQ((*other)->fetch(id).error().code, Errc::corrupt);
  EXPECT_FALSE((*other)->check(false, {})->damage.empty());
}

}  // namespace
}  // namespace stellarium::cas
