#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/io.h"
#include "cas/content_store.h"
#include "cas/families.h"
#include "support/random_bytes.h"
#include "support/temp_dir.h"

namespace stellarium::cas::test {

using Bytes = std::vector<std::byte>;

using stellarium::test::random_bytes;
using stellarium::test::same_bytes;
using stellarium::test::text_bytes;

/// A content store with a database of its own in a folder of its own, which can be closed and opened again.
class TestStore {
 public:
  explicit TestStore(ContentStore::Options options = small(), Io& io = system_io()) : options_{options}, io_{io} {
    open();
  }

  /// Small segments, so that little data fills several.
  static ContentStore::Options small() {
    return {.workers = 2, .zstd_level = 3, .segment_bytes = 1u << 20, .store = {}};
  }

  Result<void> try_open() {
    auto database = Database::open(dir_ / "db", kFamilies, Database::Options{.cache_bytes = 8u << 20});
    if (!database) return fail(database.error());
    database_ = *std::move(database);
    auto store = ContentStore::open(*database_, io_, segments(), options_);
    if (!store) return fail(store.error());
    store_ = *std::move(store);
    return {};
  }
  void open() {
    if (auto ok = try_open(); !ok) throw std::runtime_error(to_string(ok.error()));
  }
  /// As after kill -9: nothing is finished.
  void drop() {
    store_.reset();
    database_.reset();
  }
  void close() {
    if (auto ok = store_->close(); !ok) throw std::runtime_error(to_string(ok.error()));
    drop();
  }

  ContentStore& operator*() { return *store_; }
  ContentStore* operator->() { return store_.get(); }
  Database& database() { return *database_; }
  std::filesystem::path segments() const { return dir_ / "segments"; }
  const stellarium::test::TempDir& dir() const { return dir_; }

 private:
  const stellarium::test::TempDir dir_;
  const ContentStore::Options options_;
  Io& io_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<ContentStore> store_;
};

/// Writes one content in pieces of `step` bytes.
inline Result<ContentId> write(WriteSession& session, ByteSpan data, Placement placement = Placement::data,
                               std::size_t step = 100'000) {
  const auto writer = session.begin(placement);
  for (std::size_t at = 0; at < data.size(); at += step)
    if (auto ok = writer->append(data.subspan(at, std::min(step, data.size() - at))); !ok) return fail(ok.error());
  return writer->finish();
}

/// Writes and commits in a session of its own.
inline ContentId store(ContentStore& store, ByteSpan data, Placement placement = Placement::data) {
  const auto session = store.begin_session();
  const auto id = write(*session, data, placement);
  if (!id) throw std::runtime_error(to_string(id.error()));
  if (auto ok = session->commit(); !ok) throw std::runtime_error(to_string(ok.error()));
  return *id;
}

/// Reads a content back, chunk by chunk.
inline Result<Bytes> read(ContentStore& store, const ContentId& content, std::uint64_t size) {
  const auto recipe = store.recipe(content, size);
  if (!recipe) return fail(recipe.error());
  Bytes bytes;
  for (const Recipe::Entry& entry : recipe->entries) {
    const auto frame = store.fetch(entry.id);
    if (!frame) return fail(frame.error());
    const DecodedFrame::Entry* const chunk = (*frame)->find(entry.id);
    if (chunk == nullptr) return fail(Errc::corrupt, "the frame lacks the chunk");
    const ByteSpan data = (*frame)->data(*chunk);
    for (std::uint32_t n = 0; n < entry.repeat; ++n) bytes.insert(bytes.end(), data.begin(), data.end());
  }
  return bytes;
}

inline void expect_content(TestStore& store, ByteSpan data) {
  const auto bytes = read(*store, hash_of(data), data.size());
  ASSERT_TRUE(bytes) << to_string(bytes.error());
  EXPECT_TRUE(same_bytes(*bytes, data));
}
inline void expect_clean(TestStore& store) {
  const auto report = store->check(/*deep=*/true, {});
  ASSERT_TRUE(report) << to_string(report.error());
  for (const auto& damage : report->damage) ADD_FAILURE() << damage.what;
}
inline void expect_all(TestStore& store, const std::vector<Bytes>& contents) {
  for (const Bytes& data : contents) expect_content(store, data);
  expect_clean(store);
}

/// Roots for gc: exactly these contents.
inline ContentStore::LiveContents live(std::vector<ContentStore::LiveContent> contents) {
  return [contents =
              std::move(contents)](const std::function<void(const ContentStore::LiveContent&)>& found) -> Result<void> {
    for (const auto& content : contents) found(content);
    return {};
  };
}

}  // namespace stellarium::cas::test
