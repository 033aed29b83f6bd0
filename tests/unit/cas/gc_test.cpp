#include <array>
#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "cas/content_store.h"
#include "store_fixture.h"

namespace stellarium::cas {
namespace {

using test::Bytes;
using test::expect_clean;
using test::expect_content;
using test::live;
using test::random_bytes;
using test::TestStore;
using test::text_bytes;

ContentStore::GcReport collect(TestStore& store, const ContentStore::LiveContents& roots, bool dry_run = false,
                               const ContentStore::Progress& progress = {}) {
  const auto report = store->collect(roots, dry_run, /*allow_empty=*/false, progress);
  if (!report) throw std::runtime_error(to_string(report.error()));
  return *report;
}

TEST(Gc, RemovesWhatNothingNeedsAndKeepsTheRest) {
  TestStore store;
  const Bytes kept = random_bytes(1, 900'000), small = text_bytes(2, 9000), dropped = random_bytes(3, 2'500'000);
  test::store(*store, kept);
  test::store(*store, dropped);
  test::store(*store, small);
  const auto before = store->stats();
  const auto report = collect(store, live({{hash_of(kept), kept.size()}, {hash_of(small), small.size()}}));
  EXPECT_GT(report.dead_chunks, 30u);
  EXPECT_EQ(report.dead_bytes / 10'000, dropped.size() / 10'000);  // and its recipe
  EXPECT_GT(report.freed_bytes, 2'200'000u);
  EXPECT_LT(store->stats().segment_bytes, before.segment_bytes - 2'200'000);
  expect_content(store, kept);
  expect_content(store, small);
  EXPECT_EQ(store->recipe(hash_of(dropped), dropped.size()).error().code, Errc::not_found);
  expect_clean(store);

  store.drop();
  store.open();
  expect_content(store, kept);
  expect_clean(store);
  test::store(*store, dropped);
  expect_content(store, dropped);
}

TEST(Gc, RemovesWhollyDeadSegments) {
  TestStore store;
  const Bytes dropped = random_bytes(4, 3'500'000), kept = text_bytes(5, 5000);
  test::store(*store, dropped);
  test::store(*store, kept);
  EXPECT_GE(collect(store, live({{hash_of(kept), kept.size()}})).segments_removed, 2u);
  EXPECT_LE(store->stats().segments, 2u);
  expect_clean(store);
}

TEST(Gc, RefusesToEmptyAStoreUnlessToldTo) {
  TestStore store;
  const Bytes data = text_bytes(6, 5000);
  test::store(*store, data);
  const auto refused = store->collect(live({}), false, false, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::invalid_argument);
  expect_content(store, data);
  ASSERT_TRUE(store->collect(live({}), false, /*allow_empty=*/true, {}));
  EXPECT_EQ(store->stats().chunks, 0u);
}

TEST(Gc, DeletesNothingWhenTheRootsCannotBeRead) {
  TestStore store;
  const Bytes data = text_bytes(7, 5000), other = text_bytes(8, 5000);
  test::store(*store, data);
  test::store(*store, other);
  const auto broken = [&](const std::function<void(const ContentStore::LiveContent&)>& found) -> Result<void> {
    found({hash_of(data), data.size()});
    return fail(Errc::io, "disk on fire");
  };
  EXPECT_EQ(store->collect(broken, false, true, {}).error().code, Errc::io);
  // A live content whose recipe is gone: what it needs is unknown.
  const auto lost = live({{hash_of(data), data.size()}, {hash_of(as_bytes("lost")), 1'000'000}});
  EXPECT_EQ(store->collect(lost, false, true, {}).error().code, Errc::corrupt);
  expect_content(store, other);
}

TEST(Gc, AContentCountsOnceHoweverOftenItIsNeeded) {
  TestStore store;
  const Bytes large = random_bytes(23, 900'000), small = text_bytes(24, 9000), dropped = random_bytes(25, 300'000);
  for (const Bytes* data : {&large, &small, &dropped}) test::store(*store, *data);
  std::vector<ContentStore::LiveContent> roots;
  for (int inode = 0; inode < 10'000; ++inode) {
    roots.push_back({hash_of(large), large.size()});
    roots.push_back({hash_of(small), small.size()});
  }
  const auto often = collect(store, live(roots), /*dry_run=*/true);
  EXPECT_EQ(often.live_chunks,
            collect(store, live({{hash_of(large), large.size()}, {hash_of(small), small.size()}})).live_chunks);
  expect_content(store, large);
  expect_content(store, small);
  EXPECT_EQ(store->recipe(hash_of(dropped), dropped.size()).error().code, Errc::not_found);
}

TEST(Gc, ADryRunOnlyReports) {
  TestStore store;
  const Bytes kept = text_bytes(9, 5000), dropped = random_bytes(10, 200'000);
  test::store(*store, kept);
  test::store(*store, dropped);
  const auto dry = collect(store, live({{hash_of(kept), kept.size()}}), /*dry_run=*/true);
  EXPECT_GT(dry.dead_bytes, 190'000u);
  EXPECT_EQ(dry.freed_bytes, 0u);
  expect_content(store, dropped);
  EXPECT_EQ(collect(store, live({{hash_of(kept), kept.size()}})).dead_chunks, dry.dead_chunks);
}

TEST(Gc, AFrozenSessionKeepsWhatItFoundAndWhatItWrote) {
  TestStore store;
  const Bytes root = text_bytes(11, 5000), found = random_bytes(12, 400'000), found_small = text_bytes(13, 3000),
              written = random_bytes(14, 2'300'000), garbage = random_bytes(15, 400'000);
  for (const Bytes* data : {&root, &found, &found_small, &garbage}) test::store(*store, *data);

  const auto frozen = store->begin_session();
  ASSERT_TRUE(frozen->adopt(hash_of(found), found.size()).value());
  ASSERT_TRUE(test::write(*frozen, found_small));
  ASSERT_TRUE(test::write(*frozen, written));  // more than a segment: a part of it is in the index already
  for (int round = 0; round < 3; ++round) collect(store, live({{hash_of(root), root.size()}}));
  EXPECT_EQ(store->recipe(hash_of(garbage), garbage.size()).error().code, Errc::not_found);

  ASSERT_TRUE(frozen->commit());
  for (const Bytes* data : {&root, &found, &found_small, &written}) expect_content(store, *data);
  expect_clean(store);
}

TEST(Gc, ASessionThatEndsAfterTheRootsWereReadLosesNothing) {
  TestStore store;
  const Bytes root = text_bytes(16, 5000), found = random_bytes(17, 300'000), written = random_bytes(18, 300'000);
  test::store(*store, root);
  test::store(*store, found);
  auto session = store->begin_session();
  ASSERT_TRUE(session->adopt(hash_of(found), found.size()).value());
  const auto roots = [&](const std::function<void(const ContentStore::LiveContent&)>& report) -> Result<void> {
    report({hash_of(root), root.size()});
    // Now the importer finishes and publishes, which these roots do not know.
    EXPECT_TRUE(test::write(*session, written));
    EXPECT_TRUE(session->commit());
    session.reset();
    return {};
  };
  ASSERT_TRUE(store->collect(roots, false, false, {}));
  expect_content(store, found);
  expect_content(store, written);
  expect_clean(store);
}

TEST(Gc, WhatIsStoredAnewDuringTheSweepStays) {
  TestStore store;
  const Bytes root = text_bytes(19, 5000), again = random_bytes(20, 1'300'000);
  test::store(*store, again);
  test::store(*store, root);
  bool stored = false;
  collect(store, live({{hash_of(root), root.size()}}), false, [&](std::uint64_t, std::uint64_t total) {
    if (total != 0 && !std::exchange(stored, true)) test::store(*store, again);  // the index has forgotten it by now
    return true;
  });
  EXPECT_TRUE(stored);
  expect_content(store, again);
  expect_clean(store);
}

TEST(Gc, StopsWhenAsked) {
  TestStore store;
  const Bytes root = text_bytes(21, 5000);
  test::store(*store, root);
  const auto stopped = store->collect(live({{hash_of(root), root.size()}}), false, false,
                                      [](std::uint64_t, std::uint64_t) { return false; });
  EXPECT_EQ(stopped.error().code, Errc::cancelled);
}

TEST(Gc, RunsBesideImportsWithoutLosingAnyOfThem) {
  TestStore store;
  const Bytes root = text_bytes(22, 5000);
  test::store(*store, root);
  std::mutex mutex;
  std::set<std::uint64_t> published;
  const auto content = [](std::uint64_t n) { return random_bytes(n, 1000 + (n * 37'123) % 150'000); };
  const auto roots = [&](const std::function<void(const ContentStore::LiveContent&)>& found) -> Result<void> {
    found({hash_of(root), root.size()});
    const std::lock_guard lock{mutex};
    for (const std::uint64_t n : published) {
      const Bytes data = content(n);
      found({hash_of(data), data.size()});
    }
    return {};
  };
  std::atomic<bool> done = false;
  std::jthread collector{[&] {
    while (!done) EXPECT_TRUE(store->collect(roots, false, false, {}));
  }};
  std::vector<std::jthread> importers;
  for (std::uint64_t importer = 0; importer < 2; ++importer)
    importers.emplace_back([&, importer] {
      std::mt19937_64 random{importer};
      for (int round = 0; round < 25; ++round) {
        const auto session = store->begin_session();
        std::vector<std::uint64_t> mine;
        for (int n = 0; n < 4; ++n) {
          mine.push_back(random() % 40);
          ASSERT_TRUE(test::write(*session, content(mine.back())));
        }
        ASSERT_TRUE(session->commit());
        const bool publish = random() % 2 == 0;
        const std::lock_guard lock{mutex};
        for (const std::uint64_t n : mine) publish ? (void)published.insert(n) : (void)published.erase(n);
      }
    });
  importers.clear();
  done = true;
  collector.join();
  for (const std::uint64_t n : published) expect_content(store, content(n));
  expect_clean(store);
}

}  // namespace
}  // namespace stellarium::cas
