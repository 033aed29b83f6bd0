#include "fs/unsynced_inodes.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "fs/writable_tree.h"
#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

class UnsyncedInodesTest : public testing::Test {
 protected:
  UnsyncedInodesTest() { sync(); }
  void sync() { ASSERT_TRUE(tree_.database().sync()); }
  std::vector<Ino> unsynced(Ino last = 12) const {
    std::vector<Ino> found;
    for (Ino ino = 1; ino <= last; ++ino)
      if (tree_->is_unsynced(ino)) found.push_back(ino);
    return found;
  }
  Ino make(Ino parent, std::string_view name) { return tree_->make(parent, name, test::new_file(), {}).value().ino; }

  test::WrittenTree tree_;
};
using Inos = std::vector<Ino>;

TEST_F(UnsyncedInodesTest, AreThoseThatAChangeTouches) {
  EXPECT_EQ(unsynced(), Inos{});
  ASSERT_TRUE(tree_->unlink(3, "sh", {}));
  EXPECT_EQ(unsynced(), (Inos{3, 5}));
  sync();
  ASSERT_TRUE(tree_->rename(3, "dash", kRootIno, "hello", 0, {}));
  EXPECT_EQ(unsynced(), (Inos{1, 3, 4, 6})) << "both folders, what was moved, and what was there before";
  sync();
  ASSERT_TRUE(tree_->set_xattr(7, "user.a", "b", 0, {}));
  ASSERT_TRUE(tree_->link(7, 2, "second", {}));
  EXPECT_EQ(unsynced(), (Inos{2, 7}));
  sync();
  EXPECT_EQ(unsynced(), Inos{});
  const Ino made = make(2, "new");
  EXPECT_TRUE(tree_->is_unsynced(made));
  ASSERT_TRUE(tree_->unlink(2, "new", {}));
  sync();
  ASSERT_TRUE(tree_->forget(made));
  EXPECT_TRUE(tree_->is_unsynced(made));
}

TEST_F(UnsyncedInodesTest, AreAllAfterARestartUntilTheFirstSync) {
  ASSERT_TRUE(tree_->unlink(3, "sh", {}));
  tree_.reopen();
  EXPECT_EQ(unsynced(8).size(), 8u);
  sync();
  EXPECT_EQ(unsynced(), Inos{});
}

TEST_F(UnsyncedInodesTest, AreAllWhileAndAfterOthersWriteRecords) {
  ASSERT_TRUE(tree_->exclusively([&]() -> Result<void> {
    EXPECT_EQ(unsynced(8).size(), 8u);
    sync();
    EXPECT_EQ(unsynced(8).size(), 8u) << "there may be more to come";
    cas::Database::Batch batch;
    put_layer(batch, tree_.layer(), tree_.layer_record());
    return tree_.database().write(std::move(batch), cas::Database::Sync::no);
  }));
  EXPECT_EQ(unsynced(8).size(), 8u);
  sync();
  EXPECT_EQ(unsynced(), Inos{});
}

TEST_F(UnsyncedInodesTest, AreNeverMissedHoweverManyThereAre) {
  std::vector<Ino> made;
  for (int n = 0; n < 5000; ++n) made.push_back(make(2, "file " + std::to_string(n)));
  for (const Ino ino : made) ASSERT_TRUE(tree_->is_unsynced(ino));
  sync();
  for (const Ino ino : made) ASSERT_FALSE(tree_->is_unsynced(ino));
  EXPECT_EQ(unsynced(), Inos{});
}

/// Others may see the record as soon as it is written, and sync it, before the writer comes to say that it is.
TEST_F(UnsyncedInodesTest, AreKnownFromBeforeTheWriteUntilASyncAfterIt) {
  UnsyncedInodes inodes{tree_.database()};
  inodes.changing(7);
  EXPECT_TRUE(inodes.contains(7));
  EXPECT_FALSE(inodes.contains(8));
  cas::Database::Batch batch;
  put_layer(batch, tree_.layer(), tree_.layer_record());
  ASSERT_TRUE(tree_.database().write(std::move(batch), cas::Database::Sync::no));
  inodes.changing(7);  // somebody else
  inodes.changed(7);
  sync();
  EXPECT_TRUE(inodes.contains(7)) << "one is still at it";
  ASSERT_TRUE(tree_->unlink(3, "sh", {}));
  inodes.changed(7);
  EXPECT_TRUE(inodes.contains(7));
  sync();
  EXPECT_FALSE(inodes.contains(7));
}

}  // namespace
}  // namespace stellarium::fs
