#include <atomic>
#include <fstream>
#include <thread>

#include "cas/content_store.h"
#include "store_fixture.h"

namespace stellarium::cas {
namespace {

using test::Bytes;
using test::expect_all;
using test::live;
using test::TestStore;
using test::text_bytes;

struct Stored {
  std::vector<Bytes> contents;
  std::vector<ContentStore::LiveContent> roots;
};

Stored store_rooted(TestStore& store) {
  Stored stored;
  const auto session = store->begin_session();
  for (std::uint64_t n = 0; n < 40; ++n) {
    stored.contents.push_back(text_bytes(n, 500 + (n * 6977) % 200'000));
    const auto id = test::write(*session, stored.contents.back());
    if (!id) throw std::runtime_error(to_string(id.error()));
    stored.roots.push_back({*id, stored.contents.back().size()});
  }
  if (auto ok = session->commit(); !ok) throw std::runtime_error(to_string(ok.error()));
  return stored;
}

TEST(Recompress, StoresTheSameInLessAndOnlyOnce) {
  TestStore store;
  const Stored stored = store_rooted(store);
  const auto before = store->stats();
  const auto report = store->recompress(live(stored.roots), 19, {});
  ASSERT_TRUE(report) << to_string(report.error());
  EXPECT_LT(report->bytes_after, report->bytes_before);
  EXPECT_LT(store->stats().segment_bytes, before.segment_bytes);
  EXPECT_EQ(store->stats().chunks, before.chunks);
  expect_all(store, stored.contents);
  store.drop();
  store.open();
  expect_all(store, stored.contents);
}

TEST(Recompress, ReadersNoticeNothing) {
  TestStore store;
  const Stored stored = store_rooted(store);
  std::atomic<bool> done = false;
  std::jthread reader{[&] {
    for (std::size_t n = 0; !done; n = (n + 1) % stored.contents.size()) {
      const Bytes& data = stored.contents[n];
      const auto read = test::read(*store, hash_of(data), data.size());
      ASSERT_TRUE(read) << to_string(read.error());
      ASSERT_TRUE(*read == data);
    }
  }};
  for (const int level : {1, 9, 3}) ASSERT_TRUE(store->recompress(live(stored.roots), level, {}));
  done = true;
  reader.join();
  EXPECT_EQ(store->stats().corrupt_reads, 0u);
}

TEST(Recompress, WorksBesideAnOpenSession) {
  TestStore store;
  const Stored stored = store_rooted(store);
  const auto session = store->begin_session();
  const Bytes late = text_bytes(1000, 300'000);
  ASSERT_TRUE(test::write(*session, late));
  ASSERT_TRUE(test::write(*session, stored.contents[7]));
  ASSERT_TRUE(store->recompress(live(stored.roots), 9, {}));
  ASSERT_TRUE(session->commit());
  EXPECT_TRUE(test::read(*store, hash_of(late), late.size()).value() == late);
  expect_all(store, stored.contents);
}

TEST(Recompress, KeepsADamagedSegmentForFsckToName) {
  TestStore store;
  const Stored stored = store_rooted(store);
  store.close();
  {
    std::fstream file{store.segments() / "00000001.seg", std::ios::in | std::ios::out | std::ios::binary};
    file.seekp(100'000);
    file.write("damage", 6);
  }
  store.open();
  const auto damaged = store->check(true, {});
  ASSERT_TRUE(damaged);
  ASSERT_FALSE(damaged->damage.empty());
  ASSERT_TRUE(store->recompress(live(stored.roots), 9, {}));
  EXPECT_TRUE(std::filesystem::exists(store.segments() / "00000001.seg"));
  const auto after = store->check(true, {});
  ASSERT_TRUE(after);
  EXPECT_EQ(after->damage.size(), damaged->damage.size());
  EXPECT_EQ(after->damage[0].chunks, damaged->damage[0].chunks);
}

}  // namespace
}  // namespace stellarium::cas
