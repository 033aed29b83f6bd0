#include "fs/staged_first.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>

#include "cas/database.h"
#include "support/fault_io.h"
#include "support/image_store.h"
#include "support/temp_dir.h"

namespace stellarium::fs {
namespace {

using test::must;

constexpr cas::Family kRecords{"records"};

class StagedFirstTest : public testing::Test {
 protected:
  /// A new staged file that a record of the database names, in a log that nobody synced.
  StagedId name_one(const std::string& key) {
    const StagedId id = must(staging_->create())->id();
    staging_->note_unsynced(id);
    cas::Database::Batch batch;
    batch.put(kRecords, key, std::to_string(id));
    must(database_->write(std::move(batch), cas::Database::Sync::no));
    return id;
  }
  std::size_t file_syncs() const {
    const auto calls = io_.calls();
    return static_cast<std::size_t>(std::count(calls.begin(), calls.end(), "sync_data"));
  }
  cas::Database::Batch other_record() {
    cas::Database::Batch batch;
    batch.put(kRecords, "image", "published");
    return batch;
  }

  test::TempDir dir_;
  test::FaultIo io_;
  std::unique_ptr<cas::Database> database_ = must(cas::Database::open(dir_ / "db", std::array{&kRecords}, {}));
  std::unique_ptr<Staging> staging_ = must(Staging::open(io_, dir_ / "staged"));
  std::unique_ptr<StagedFirst> order_ = std::make_unique<StagedFirst>(*database_, *staging_);
};

TEST_F(StagedFirstTest, WhoeverSyncsTheLogSyncsStagedFilesFirst) {
  name_one("a");
  EXPECT_EQ(file_syncs(), 0u);
  must(database_->write(other_record(), cas::Database::Sync::yes));  // has nothing to do with the file
  EXPECT_EQ(file_syncs(), 1u);
  name_one("b");
  must(database_->sync());
  EXPECT_EQ(file_syncs(), 2u);
  must(database_->sync());
  EXPECT_EQ(file_syncs(), 2u);  // nothing was left to do
}

TEST_F(StagedFirstTest, TablesAreWrittenAfterTheFiles) {
  name_one("a");
  must(database_->flush());
  EXPECT_EQ(file_syncs(), 1u);
}

TEST_F(StagedFirstTest, AFileThatCannotBeSyncedDoesNotHoldUpRecords) {
  const StagedId bad = name_one("a");
  io_.fail_at(0, EIO);
  must(database_->write(other_record(), cas::Database::Sync::yes));
  EXPECT_EQ(staging_->failures(), 1u);
  EXPECT_EQ(staging_->make_durable(bad).error().sys_errno, EIO);
  name_one("b");
  must(database_->sync());
  EXPECT_EQ(file_syncs(), 2u);
}

TEST_F(StagedFirstTest, AFolderThatCannotBeSyncedDoes) {
  name_one("a");
  io_.fail_at(1, EIO);  // the file's folder, after the file
  EXPECT_EQ(database_->sync().error().sys_errno, EIO);
  must(database_->sync());
}

TEST_F(StagedFirstTest, NobodyIsAskedWhenItIsGone) {
  name_one("a");
  order_.reset();
  EXPECT_FALSE(database_->has_named_files());
  must(database_->sync());
  must(database_->flush());
  EXPECT_EQ(file_syncs(), 0u);
}

}  // namespace
}  // namespace stellarium::fs
