#include "fs/unsynced_inodes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
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

/// Who saw a change and then syncs must not be told that there is nothing to sync.
TEST_F(UnsyncedInodesTest, AreKnownBeforeAnybodyCanSeeTheChange) {
  const auto give_away = [&](std::uint32_t uid) {
    const auto set = [uid](Inode& inode) -> Result<void> {
      inode.uid = uid;
      return {};
    };
    // Called when the batch is complete, just before it is written.
    const auto look = [&](cas::Database::Batch&, const WritableTree::Entry&) { EXPECT_FALSE(tree_->is_unsynced(7)); };
    ASSERT_TRUE(tree_->change(7, set, look));
  };
  std::atomic<std::uint32_t> given = 0;
  std::thread writer{[&] {
    for (std::uint32_t uid = 1; uid <= 500; ++uid) {
      give_away(uid);
      given = uid;
      sync();
    }
  }};
  std::uint32_t missed = 0;
  for (std::uint32_t seen = 0; seen < 500;) {
    const std::uint64_t durable = tree_.database().durable();
    seen = tree_->inode(7).value().value().uid;
    // It was written after that sync, or is known to be unsynced.
    if (seen > given && !tree_->is_unsynced(7) && tree_.database().durable() == durable) ++missed;
  }
  writer.join();
  EXPECT_EQ(missed, 0u);
}

}  // namespace
}  // namespace stellarium::fs
