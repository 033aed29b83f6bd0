#include "fs/fuse/handle_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <set>

#include "support/golden.h"

namespace stellarium::fs::fuse {
namespace {

constexpr std::uint64_t kTableMount = 12;

class HandleTableTest : public testing::Test {
 protected:
  HandleTable open() {
    auto table = HandleTable::open(UniqueFd{::dup(fd_.get())}, kTableMount);
    EXPECT_TRUE(table) << to_string(table.error());
    return std::move(*table);
  }
  static HandleTable::Handle handle(std::uint64_t unique, std::uint64_t node = 7) {
    return {.unique = unique, .node = NodeId{node}, .mode = OpenMode::passthrough, .backing_id = 3};
  }
  UniqueFd fd_ = std::move(*HandleTable::make());
};

TEST_F(HandleTableTest, KeepsHandlesForTheNextServer) {
  FileHandle kept = 0;
  {
    HandleTable table = open();
    kept = table.begin(handle(100))->handle;
    table.confirm(kept);
    const FileHandle closed = table.begin(handle(102))->handle;
    EXPECT_TRUE(table.end(closed, NodeId{7}));
    table.set_features(5);
  }
  HandleTable table = open();
  EXPECT_EQ(table.handles(), std::vector{handle(100)});
  EXPECT_EQ(table.features(), 5u);
  EXPECT_EQ(table.end(kept, NodeId{7}), handle(100));
  EXPECT_EQ(table.handle_count(), 0u);
}

TEST_F(HandleTableTest, ARequestThatIsSentAgainGetsItsRecordBack) {
  FileHandle first = 0;
  {
    HandleTable table = open();
    first = table.begin(handle(100))->handle;  // killed before the answer
  }
  HandleTable table = open();
  HandleTable::Handle other = handle(100);
  other.mode = OpenMode::cached;  // what the next server would have decided
  const auto again = table.begin(other);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->repeated);
  EXPECT_EQ(again->handle, first);
  EXPECT_EQ(again->record, handle(100));
  EXPECT_EQ(table.handle_count(), 1u);
}

TEST_F(HandleTableTest, APendingRecordThatIsNotSentAgainCountsAsOpen) {
  { ASSERT_TRUE(open().begin(handle(100))); }
  EXPECT_EQ(open().handle_count(), 1u);
}

TEST_F(HandleTableTest, AReleaseThatIsSentAgainChangesNothing) {
  HandleTable table = open();
  const FileHandle closed = table.begin(handle(100))->handle;
  EXPECT_TRUE(table.end(closed, NodeId{7}));
  const FileHandle next = table.begin(handle(102))->handle;
  EXPECT_NE(next, closed);
  EXPECT_FALSE(table.end(closed, NodeId{7}));
  EXPECT_EQ(table.handle_count(), 1u);
}

TEST_F(HandleTableTest, IgnoresHandlesThatItNeverGave) {
  HandleTable table = open();
  const FileHandle real = table.begin(handle(100))->handle;
  EXPECT_FALSE(table.end(0, NodeId{7}));
  EXPECT_FALSE(table.end(~0ull, NodeId{7}));
  EXPECT_FALSE(table.end(real + 1, NodeId{7}));
  EXPECT_FALSE(table.end(real, NodeId{8}));
  EXPECT_TRUE(table.end(real, NodeId{7}));
}

TEST_F(HandleTableTest, AnAnswerThatIsConfirmedAfterItsReleaseStaysReleased) {
  HandleTable table = open();
  const FileHandle quick = table.begin(handle(100))->handle;
  EXPECT_TRUE(table.end(quick, NodeId{7}));
  table.confirm(quick);
  EXPECT_EQ(table.handle_count(), 0u);
  EXPECT_TRUE(open().handles().empty());
}

TEST_F(HandleTableTest, GrowsAsFarAsNeeded) {
  std::set<FileHandle> all;
  {
    HandleTable table = open();
    for (std::uint64_t i = 0; i < 5'000; ++i) all.insert(table.begin(handle(2 * i))->handle);
  }
  EXPECT_EQ(all.size(), 5'000u);
  HandleTable table = open();
  EXPECT_EQ(table.handle_count(), 5'000u);
  for (const FileHandle each : all) EXPECT_TRUE(table.end(each, NodeId{7}));
  EXPECT_EQ(table.handle_count(), 0u);
}

TEST_F(HandleTableTest, KeepsBackingIdsAndTheHighestEverSeen) {
  const HandleTable::Backing first{{{cas::hash_of(as_bytes("one")), 70'000}}, 4};
  const HandleTable::Backing second{{{cas::hash_of(as_bytes("two")), 80'000}}, 9};
  const HandleTable::Backing staged{{{}, 0x1234'5678'9abc'def0}, 7};
  {
    HandleTable table = open();
    ASSERT_TRUE(table.add_backing(first));
    const auto slot = table.add_backing(second);
    table.remove_backing(*slot);
    ASSERT_TRUE(table.add_backing(staged));
  }
  HandleTable table = open();
  ASSERT_EQ(table.backings().size(), 2u);
  EXPECT_EQ(table.backings()[0].second, first);
  EXPECT_EQ(table.backings()[1].second, staged);
  EXPECT_EQ(table.highest_backing_id(), 9u);
}

TEST_F(HandleTableTest, BeginsAnewWhenToldTo) {
  HandleTable table = open();
  ASSERT_TRUE(table.begin(handle(100)));
  table.set_features(1);
  table.clear();
  EXPECT_TRUE(table.handles().empty());
  EXPECT_FALSE(table.features());
}

TEST_F(HandleTableTest, RefusesWhatIsNoTableOfThisMount) {
  { open(); }
  EXPECT_EQ(HandleTable::open(UniqueFd{::dup(fd_.get())}, kTableMount + 1).error().code, Errc::corrupt);
  UniqueFd other{::memfd_create("other", MFD_CLOEXEC)};
  EXPECT_EQ(::ftruncate(other.get(), 1 << 20), 0);
  EXPECT_EQ(HandleTable::open(std::move(other), kTableMount).error().code, Errc::corrupt);
  const std::uint32_t newer = 2;
  ASSERT_EQ(::pwrite(fd_.get(), &newer, sizeof newer, 8), static_cast<ssize_t>(sizeof newer));
  const auto refused = HandleTable::open(UniqueFd{::dup(fd_.get())}, kTableMount);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::version);
  EXPECT_NE(refused.error().context.find("version 2"), std::string::npos);
}

TEST_F(HandleTableTest, CannotBeShrunkUnderItsReaders) {
  EXPECT_EQ(::ftruncate(fd_.get(), 0), -1);
}

TEST_F(HandleTableTest, DropsRecordsThatWereOverwritten) {
  { ASSERT_TRUE(open().begin(handle(100))); }
  const std::uint64_t noise = 0x1122334455667788;
  ASSERT_EQ(::pwrite(fd_.get(), &noise, sizeof noise, 4096 + 24), static_cast<ssize_t>(sizeof noise));
  EXPECT_TRUE(open().handles().empty());
}

TEST_F(HandleTableTest, LooksAsItsFormatPageSays) {
  {
    HandleTable table = open();
    table.set_features(5);
    ASSERT_TRUE(table.add_backing({{{cas::hash_of(as_bytes("content")), 70'000}}, 3}));
    table.confirm(table.begin(handle(100))->handle);
    ASSERT_TRUE(table.begin({.unique = 102, .node = NodeId{8}}));
  }
  std::string bytes(4096 + 3 * 64, '\0');
  ASSERT_EQ(::pread(fd_.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(bytes, test::golden_or_write("handle-table-v1.bin", bytes));
}

TEST_F(HandleTableTest, SurvivesAKillAtAnyInstruction) {
  std::mt19937 random{3};
  for (int round = 0; round < 60; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      auto table = HandleTable::open(UniqueFd{::dup(fd_.get())}, kTableMount);
      for (std::uint64_t unique = static_cast<std::uint64_t>(round) << 32;; unique += 2) {
        const auto begun = table->begin(handle(unique, unique));
        table->confirm(begun->handle);
        if (unique == (static_cast<std::uint64_t>(round) << 32)) (void)!::write(pipe[1], "!", 1);
        if (unique % 6 != 0) table->end(begun->handle, NodeId{unique});
        if (table->handle_count() > 3'000) table->clear();
      }
    }
    char byte = 0;
    ASSERT_EQ(::read(pipe[0], &byte, 1), 1);
    ::usleep(static_cast<useconds_t>(random() % 3'000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(pipe[0]);
    ::close(pipe[1]);
    HandleTable table = open();
    std::set<std::uint64_t> uniques;
    for (const HandleTable::Handle& left : table.handles()) {
      EXPECT_EQ(left, handle(left.unique, left.unique));  // whole, or not there
      EXPECT_TRUE(uniques.insert(left.unique).second);
    }
    table.clear();
    EXPECT_EQ(table.handle_count(), 0u);
  }
}

}  // namespace
}  // namespace stellarium::fs::fuse
