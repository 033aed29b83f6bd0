#include <filesystem>
#include <fstream>

#include "cas/content_store.h"
#include "store_fixture.h"

namespace stellarium::cas {
namespace {

using test::Bytes;
using test::random_bytes;
using test::TestStore;

/// A store with one content of several frames, one byte of which is wrong on disk.
class RepairTest : public testing::Test {
 protected:
  RepairTest() {
    test::store(*store_, data_);
    store_.close();
    const auto path = store_.segments() / "00000001.seg";
    std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
    file.seekg(100'000);
    const int byte = file.get() ^ 16;
    file.seekp(100'000);
    file.put(static_cast<char>(byte));
    file.close();
    store_.open();
  }
  std::vector<ChunkId> damaged() {
    std::vector<ChunkId> chunks;
    const auto report = store_->check(/*deep=*/true, {});
    for (const auto& damage : report->damage) chunks.insert(chunks.end(), damage.chunks.begin(), damage.chunks.end());
    return chunks;
  }
  /// The right bytes of a chunk, taken from the content.
  std::optional<ContentStore::Copy> original(const ChunkId& id) {
    std::size_t at = 0;
    const auto recipe = store_->recipe(hash_of(data_), data_.size());
    for (const auto& entry : recipe->entries) {
      const ByteSpan chunk = ByteSpan{data_}.subspan(at, entry.size);
      if (entry.id == id) return ContentStore::Copy{{chunk.begin(), chunk.end()}};
      at += entry.size;
    }
    return std::nullopt;
  }
  bool is_whole() {
    const auto read = test::read(*store_, hash_of(data_), data_.size());
    return read && *read == data_;
  }

  const Bytes data_ = random_bytes(1, 700'000);
  TestStore store_;
};

TEST_F(RepairTest, StoresAnewWhatHasACopyElsewhere) {
  const auto chunks = damaged();
  ASSERT_FALSE(chunks.empty());
  EXPECT_FALSE(is_whole());
  const auto report = store_->repair(chunks, [&](const ChunkId& id) { return original(id); }, {});
  ASSERT_TRUE(report) << to_string(report.error());
  EXPECT_EQ(report->restored, chunks.size());
  EXPECT_EQ(report->lost, 0u);
  EXPECT_TRUE(is_whole());
  EXPECT_TRUE(damaged().empty());
  store_.drop();
  store_.open();
  EXPECT_TRUE(is_whole());
  EXPECT_EQ(store_->repair(chunks, {}, {})->lost, 0u) << "sound chunks are left alone";
}

TEST_F(RepairTest, TakesNoCopyWithOtherBytes) {
  const auto chunks = damaged();
  const auto wrong = [&](const ChunkId& id) {
    auto copy = original(id);
    copy->bytes.back() ^= std::byte{1};
    return copy;
  };
  const auto report = store_->repair(chunks, wrong, {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->restored, 0u);
  EXPECT_EQ(report->lost, chunks.size());
  EXPECT_FALSE(is_whole());
}

TEST_F(RepairTest, WhatStaysLostIsRestoredByTheNextImportThatHasIt) {
  const auto chunks = damaged();
  test::store(*store_, data_);
  EXPECT_FALSE(is_whole()) << "the index says that it is there";
  ASSERT_TRUE(store_->repair(chunks, [](const ChunkId&) { return std::nullopt; }, {}));
  test::store(*store_, data_);
  EXPECT_TRUE(is_whole());
  EXPECT_TRUE(damaged().empty());
  const auto chunks_new = [&] {
    const auto session = store_->begin_session();
    EXPECT_TRUE(test::write(*session, data_));
    return session->totals().chunks_new;
  };
  EXPECT_EQ(chunks_new(), 0u) << "trusted again";
}

}  // namespace
}  // namespace stellarium::cas
