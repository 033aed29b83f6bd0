#include "fs/staged_sweep.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "support/power_cut_io.h"
#include "support/temp_dir.h"
#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

bool go_on() {
  return true;
}

class StagedSweepTest : public ::testing::Test {
 protected:
  /// A staged file, and a file of the clone that names it.
  StagedId named(const std::string& name) {
    const StagedId id = unnamed();
    EXPECT_TRUE(tree_->make(kRootIno, name, {.mode = S_IFREG | 0644, .staged = id}, {}));
    return id;
  }
  StagedId unnamed() { return staging_->create().value()->id(); }
  void restart() {
    staging_.reset();
    staging_ = open();
  }
  std::unique_ptr<Staging> open() { return std::move(Staging::open(system_io(), dir_ / "staged")).value(); }
  std::size_t sweep() { return sweep_staged(tree_.database(), *staging_, go_on).value(); }
  bool there(StagedId id) { return staging_->status(id).has_value(); }

  test::TempDir dir_;
  test::WrittenTree tree_;
  std::unique_ptr<Staging> staging_ = open();
};

TEST_F(StagedSweepTest, WhatNoRecordNamesGoes) {
  const StagedId kept = named("kept"), left = unnamed();
  restart();
  EXPECT_EQ(sweep(), 1u);
  EXPECT_TRUE(there(kept));
  EXPECT_FALSE(there(left));
}

TEST_F(StagedSweepTest, WhatAFrozenLayerNamesStays) {
  const StagedId frozen = named("file");
  tree_.stack();
  ASSERT_TRUE(tree_->unlink(kRootIno, "file", {}));
  restart();
  EXPECT_EQ(sweep(), 0u);
  EXPECT_TRUE(there(frozen));
}

TEST_F(StagedSweepTest, AFileThatIsStillOpenWithoutANameStays) {
  const StagedId open = named("file");
  ASSERT_TRUE(tree_->unlink(kRootIno, "file", {}));
  restart();
  EXPECT_EQ(sweep(), 0u);
  EXPECT_TRUE(there(open));
}

TEST_F(StagedSweepTest, FilesMadeSinceTheStartStay) {
  restart();
  const StagedId made = unnamed();
  EXPECT_EQ(sweep(), 0u);
  EXPECT_EQ(sweep(), 0u) << "what is made later is nobody's leftover either";
  EXPECT_TRUE(there(made));
}

TEST_F(StagedSweepTest, NothingGoesIfARecordCannotBeRead) {
  const StagedId left = unnamed();
  cas::Database::Batch batch;
  batch.put(kInodeFamily, inode_key(tree_.layer(), 4000), "no inode");
  tree_.write(std::move(batch));
  restart();
  EXPECT_FALSE(sweep_staged(tree_.database(), *staging_, go_on));
  EXPECT_TRUE(there(left));
}

TEST_F(StagedSweepTest, ItStopsWhenItIsTold) {
  const StagedId left = unnamed();
  restart();
  EXPECT_EQ(sweep_staged(tree_.database(), *staging_, [] { return false; }).value(), 0u);
  EXPECT_TRUE(there(left));
}

}  // namespace
}  // namespace stellarium::fs
