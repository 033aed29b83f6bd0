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

namespace stellarium::test {

using Bytes = std::vector<std::byte>;

/// A content store with a database of its own in a folder of its own, which can be closed and opened again.
class TestStore {
 public:
  explicit TestStore(cas::ContentStore::Options options = small(), Io& io = system_io()) : options_{options}, io_{io} {
    open();
  }

  /// Small segments, so that little data fills several.
  static cas::ContentStore::Options small() {
    return {.workers = 2, .zstd_level = 3, .segment_bytes = 1u << 20, .store = {}};
  }

  Result<void> try_open() {
    auto database = cas::Database::open(
        dir_ / "db", cas::kFamilies, cas::Database::Options{.cache_bytes = 8u << 20, .write_buffer_bytes = 4u << 20});
    if (!database) return fail(database.error());
    database_ = *std::move(database);
    auto store = cas::ContentStore::open(*database_, io_, segments(), options_);
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

  cas::ContentStore& operator*() { return *store_; }
  cas::ContentStore* operator->() { return store_.get(); }
  cas::Database& database() { return *database_; }
  std::filesystem::path segments() const { return dir_ / "segments"; }
  const TempDir& dir() const { return dir_; }

 private:
  const TempDir dir_;
  const cas::ContentStore::Options options_;
  Io& io_;
  std::unique_ptr<cas::Database> database_;
  std::unique_ptr<cas::ContentStore> store_;
};

/// Writes one content in pieces of `step` bytes.
inline Result<cas::ContentId> write(cas::WriteSession& session, ByteSpan data,
                                    cas::Placement placement = cas::Placement::data, std::size_t step = 100'000) {
  const auto writer = session.begin(placement);
  for (std::size_t at = 0; at < data.size(); at += step)
    if (auto ok = writer->append(data.subspan(at, std::min(step, data.size() - at))); !ok) return fail(ok.error());
  return writer->finish();
}

/// Writes and commits in a session of its own.
inline cas::ContentId store(cas::ContentStore& store, ByteSpan data, cas::Placement placement = cas::Placement::data) {
  const auto session = store.begin_session();
  const auto id = write(*session, data, placement);
  if (!id) throw std::runtime_error(to_string(id.error()));
  if (auto ok = session->commit(); !ok) throw std::runtime_error(to_string(ok.error()));
  return *id;
}

/// Reads a content back, chunk by chunk.
inline Result<Bytes> read(cas::ContentStore& store, const cas::ContentId& content, std::uint64_t size) {
  const auto recipe = store.recipe(content, size);
  if (!recipe) return fail(recipe.error());
  Bytes bytes;
  for (const cas::Recipe::Entry& entry : recipe->entries) {
    const auto frame = store.fetch(entry.id);
    if (!frame) return fail(frame.error());
    const cas::DecodedFrame::Entry* const chunk = (*frame)->find(entry.id);
    if (chunk == nullptr) return fail(Errc::corrupt, "the frame lacks the chunk");
    const ByteSpan data = (*frame)->data(*chunk);
    for (std::uint32_t n = 0; n < entry.repeat; ++n) bytes.insert(bytes.end(), data.begin(), data.end());
  }
  return bytes;
}

inline void expect_content(TestStore& store, ByteSpan data) {
  const auto bytes = read(*store, cas::hash_of(data), data.size());
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
inline cas::ContentStore::LiveContents live(std::vector<cas::ContentStore::LiveContent> contents) {
  return [contents = std::move(contents)](
             const std::function<void(const cas::ContentStore::LiveContent&)>& found) -> Result<void> {
    for (const auto& content : contents) found(content);
    return {};
  };
}

}  // namespace stellarium::test
