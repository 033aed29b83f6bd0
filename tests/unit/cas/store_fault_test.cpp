#include <cerrno>
#include <filesystem>

#include "cas/content_store.h"
#include "store_fixture.h"
#include "support/fault_io.h"
#include "support/power_cut_io.h"
#include "support/sanitized.h"

// Every changing call that the store makes fails once, one after another; and the power goes with either the segments
// or the database behind.
namespace stellarium::cas {
namespace {

using test::Bytes;
using test::expect_clean;
using test::live;
using test::random_bytes;
using test::TestStore;
using test::text_bytes;

constexpr std::uint64_t kContents = 12;

/// No call that comes from here on fails.
void repair(stellarium::test::FaultIo& io) {
  io.fail_at(std::uint64_t{1} << 40, EIO);
}

Bytes content(std::uint64_t n) {
  return n % 2 == 0 ? random_bytes(n, 130'000 + n) : text_bytes(n, 9000 + n);
}

Result<void> import(ContentStore& store, std::uint64_t first, std::uint64_t count) {
  const auto session = store.begin_session();
  for (std::uint64_t n = first; n < first + count; ++n) {
    if (n == first + count / 2) session->begin_commit();  // whatever fails there, `commit` has to tell
    if (const auto id = test::write(*session, content(n)); !id) return fail(id.error());
  }
  return session->commit();
}

std::vector<ContentStore::LiveContent> roots(std::uint64_t first, std::uint64_t count) {
  std::vector<ContentStore::LiveContent> contents;
  for (std::uint64_t n = first; n < first + count; ++n) contents.push_back({hash_of(content(n)), content(n).size()});
  return contents;
}

void expect_contents(TestStore& store, std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t n = first; n < first + count; ++n) {
    SCOPED_TRACE(n);
    test::expect_content(store, content(n));
  }
}

TEST(StoreFaults, AnImportThatFailsAtAnyCallCanBeRepeated) {
  for (const int error : {ENOSPC, EIO}) {
    bool reached = true;
    for (std::uint64_t call = 0; reached; call += test::kStep) {
      SCOPED_TRACE("call " + std::to_string(call) + ", errno " + std::to_string(error));
      stellarium::test::FaultIo io;
      TestStore store{TestStore::small(), io};
      ASSERT_TRUE(import(*store, 100, 2));
      io.fail_at(call, error);
      const auto imported = import(*store, 0, kContents);
      reached = io.reached();
      repair(io);
      if (reached && !imported) {
        EXPECT_EQ(imported.error().code, errc_from_errno(error));
      }
      ASSERT_TRUE(import(*store, 0, kContents));  // by the same process, and after a restart
      expect_contents(store, 0, kContents);
      expect_contents(store, 100, 2);
      store.drop();
      store.open();
      expect_contents(store, 0, kContents);
      expect_clean(store);
    }
  }
}

TEST(StoreFaults, AFailedImportGivesItsSpaceBack) {
  stellarium::test::FaultIo io;
  TestStore store{TestStore::small(), io};
  ASSERT_TRUE(import(*store, 100, 1));
  const auto size_of_segments = [&] {
    std::uintmax_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(store.segments())) bytes += entry.file_size();
    return bytes;
  };
  const auto before = size_of_segments();
  for (const std::uint64_t call : {0u, 2u, 5u}) {
    io.fail_at(call, ENOSPC);
    EXPECT_EQ(import(*store, 0, 6).error().code, Errc::out_of_space);
    EXPECT_EQ(size_of_segments(), before) << "call " << call;
  }
}

TEST(StoreFaults, ACollectionThatFailsAtAnyCallLosesNothing) {
  bool reached = true;
  for (std::uint64_t call = 0; reached; call += test::kStep) {
    SCOPED_TRACE("call " + std::to_string(call));
    stellarium::test::FaultIo io;
    TestStore store{TestStore::small(), io};
    ASSERT_TRUE(import(*store, 0, kContents));
    ASSERT_TRUE(import(*store, 100, kContents));
    io.fail_at(call, EIO);
    const auto collected = store->collect(live(roots(0, kContents)), false, false, {});
    reached = io.reached();
    repair(io);
    EXPECT_EQ(collected.has_value(), !reached);
    store.drop();
    store.open();
    expect_contents(store, 0, kContents);
    expect_clean(store);
    ASSERT_TRUE(store->collect(live(roots(0, kContents)), false, false, {}));
    expect_contents(store, 0, kContents);
    expect_clean(store);
    EXPECT_LT(store->stats().segment_bytes, 1'200'000u);
  }
}

TEST(StoreFaults, ARecompressionThatFailsAtAnyCallLosesNothing) {
  bool reached = true;
  for (std::uint64_t call = 0; reached; call += test::kStep) {
    SCOPED_TRACE("call " + std::to_string(call));
    stellarium::test::FaultIo io;
    TestStore store{TestStore::small(), io};
    ASSERT_TRUE(import(*store, 0, kContents));
    io.fail_at(call, ENOSPC);
    const auto done = store->recompress(live(roots(0, kContents)), 6, {});
    reached = io.reached();
    repair(io);
    EXPECT_EQ(done.has_value(), !reached);
    store.drop();
    store.open();
    expect_contents(store, 0, kContents);
    expect_clean(store);
    ASSERT_TRUE(store->recompress(live(roots(0, kContents)), 6, {}));
    expect_contents(store, 0, kContents);
    expect_clean(store);
  }
}

TEST(StoreFaults, AfterAPowerCutWhatWasCommittedIsThereAndTheRestIsGone) {
  stellarium::test::PowerCutIo io;
  TestStore store{TestStore::small(), io};
  ASSERT_TRUE(import(*store, 0, kContents));
  {
    const auto session = store->begin_session();
    for (std::uint64_t n = 100; n < 112; ++n) ASSERT_TRUE(test::write(*session, content(n)));
    // The session is dropped here, but its bytes may lie in the segment: kill -9 would leave the same.
  }
  store.drop();
  ASSERT_GE(io.cut(), 0);
  store.open();
  expect_contents(store, 0, kContents);
  expect_clean(store);
  EXPECT_EQ(store->recipe(hash_of(content(100)), content(100).size()).error().code, Errc::not_found);
  ASSERT_TRUE(import(*store, 100, kContents));
  expect_contents(store, 100, kContents);
  expect_clean(store);
}

TEST(StoreFaults, UnsyncedSegmentBytesThatThePowerCutTookAreInNoIndex) {
  // The power goes at every changing call of an import; the database keeps everything it was told.
  bool reached = true;
  for (std::uint64_t call = 0; reached; call += test::kStep) {
    SCOPED_TRACE("call " + std::to_string(call));
    stellarium::test::PowerCutIo power;
    stellarium::test::FaultIo io{power};
    TestStore store{TestStore::small(), io};
    ASSERT_TRUE(import(*store, 100, 3));
    io.fail_at(call, EIO, /*forever=*/true);
    const bool imported = import(*store, 0, kContents).has_value();
    reached = io.reached();
    store.drop();
    repair(io);
    ASSERT_GE(power.cut(), 0);
    store.open();
    expect_contents(store, 100, 3);
    if (imported) expect_contents(store, 0, kContents);
    expect_clean(store);
    ASSERT_TRUE(import(*store, 0, kContents));
    expect_contents(store, 0, kContents);
    expect_clean(store);
  }
}

TEST(StoreFaults, SegmentsThatAreNewerThanTheDatabaseAreCutNotTrusted) {
  TestStore store;
  ASSERT_TRUE(import(*store, 0, 4));
  ASSERT_TRUE(store.database().checkpoint(store.dir() / "old"));
  ASSERT_TRUE(import(*store, 100, kContents));
  store.drop();
  std::filesystem::remove_all(store.dir() / "db");
  std::filesystem::rename(store.dir() / "old", store.dir() / "db");
  store.open();
  expect_contents(store, 0, 4);
  EXPECT_EQ(store->recipe(hash_of(content(100)), content(100).size()).error().code, Errc::not_found);
  ASSERT_TRUE(import(*store, 100, kContents));
  expect_contents(store, 0, 4);
  expect_contents(store, 100, kContents);
}

}  // namespace
}  // namespace stellarium::cas
