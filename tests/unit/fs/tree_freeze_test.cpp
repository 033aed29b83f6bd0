#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <set>

#include "fs/families.h"
#include "fs/records.h"
#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

using test::new_file;
using test::refusal;

class TreeFreezeTest : public testing::Test {
 protected:
  /// As a snapshot does, but for the names of clones.
  Result<void> freeze(LayerId next, const std::vector<WritableTree::Entry>& copies = {}) {
    return tree_->freeze(
        next, [&]() -> Result<std::vector<WritableTree::Entry>> { return copies; },
        [&](cas::Database::Batch&& batch, Ino next_ino) {
          const LayerId before = tree_->reader().layer();
          LayerRecord record = read_layer(tree_.database(), before).value().value();
          record.state = LayerRecord::State::frozen;
          put_layer(batch, before, record);
          record.state = LayerRecord::State::writable;
          record.parent = before;
          record.next_ino = next_ino;
          put_layer(batch, next, record);
          auto written = tree_.database().write(std::move(batch), cas::Database::Sync::no);
          if (when_written_) when_written_();
          return written;
        });
  }
  Ino make(std::string_view name, StagedId staged = 0) {
    WritableTree::NewNode node = new_file();
    node.staged = staged;
    return tree_->make(kRootIno, name, node, {}).value().ino;
  }
  LayerReader frozen() const { return LayerReader{tree_.database(), {2, 1}}; }

  test::WrittenTree tree_;
  std::function<void()> when_written_;  // and before the tree goes on in the new layer
};

TEST_F(TreeFreezeTest, ChangesGoIntoTheNewLayerOnly) {
  const Ino file = make("before");
  ASSERT_TRUE(freeze(3));
  EXPECT_EQ(tree_->reader().layers(), (std::vector<LayerId>{3, 2, 1}));
  ASSERT_TRUE(tree_->unlink(kRootIno, "before", {}));
  ASSERT_TRUE(tree_->unlink(kRootIno, "empty", {}));
  make("after");
  EXPECT_EQ(tree_.find("before"), 0u);
  EXPECT_EQ(tree_.find("empty"), 0u);
  EXPECT_EQ(frozen().resolve("before", false).value().ino, file);
  EXPECT_TRUE(frozen().resolve("empty", false));
  EXPECT_FALSE(frozen().resolve("after", false));
}

TEST_F(TreeFreezeTest, AnEarlierReaderStaysWhatItWas) {
  const LayerReader& before = tree_->reader();
  for (LayerId next = 3; next < 20; ++next) ASSERT_TRUE(freeze(next));
  EXPECT_EQ(before.layers(), (std::vector<LayerId>{2, 1}));
  EXPECT_TRUE(before.resolve("hello", false));
  EXPECT_TRUE(tree_->reader().resolve("hello", false));
}

TEST_F(TreeFreezeTest, NumbersGoOn) {
  std::set<Ino> given{make("a"), make("b")};
  ASSERT_TRUE(freeze(3));
  EXPECT_TRUE(given.insert(make("c")).second);
  const auto next = WritableTree::open(tree_.database(), {3, 2, 1}).value();  // after a restart
  EXPECT_TRUE(given.insert(next->make(kRootIno, "d", new_file(), {}).value().ino).second);
}

TEST_F(TreeFreezeTest, AFileThatIsWrittenIsACopyInTheFrozenLayer) {
  const Ino file = make("log", 7);
  ASSERT_TRUE(tree_->set_xattr(file, "user.note", "kept", 0, {}));
  Inode copy = tree_.stat(file);
  copy.staged = 8;
  ASSERT_TRUE(freeze(3, {{file, copy}}));
  EXPECT_EQ(tree_.stat(file).staged, 7u);
  EXPECT_EQ(tree_.xattrs(file).at("user.note"), "kept");
  EXPECT_EQ(frozen().inode(file).value()->staged, 8u);
  EXPECT_EQ(frozen().xattr(file, "user.note").value(), "kept");
  ASSERT_TRUE(tree_->remove_xattr(file, "user.note", {}));
  EXPECT_EQ(frozen().xattr(file, "user.note").value(), "kept");
}

TEST_F(TreeFreezeTest, AWrittenFileWithoutLinksGoesAlong) {
  const Ino file = make("gone", 7);
  ASSERT_TRUE(tree_->set_xattr(file, "user.note", "kept", 0, {}));
  ASSERT_TRUE(tree_->unlink(kRootIno, "gone", {}));
  ASSERT_TRUE(freeze(3));
  EXPECT_EQ(tree_.stat(file).staged, 7u);
  EXPECT_EQ(tree_.xattrs(file).at("user.note"), "kept");
  EXPECT_FALSE(frozen().inode(file).value());
  EXPECT_TRUE(frozen().xattrs(file).value().empty());
  ASSERT_TRUE(tree_->forget(file));
  EXPECT_FALSE(tree_->inode(file).value());
}

TEST_F(TreeFreezeTest, OfALowerLayersFileTheFrozenOneSaysThatItIsGone) {
  constexpr Ino kEmpty = 7;
  ASSERT_TRUE(tree_->change(kEmpty,
                            [](Inode& inode) -> Result<void> {
                              inode.body = Body::staged;
                              inode.staged = 9;
                              return {};
                            },
                            {}));
  ASSERT_TRUE(tree_->unlink(kRootIno, "empty", {}));
  ASSERT_TRUE(tree_->orphans()) << "whoever mounts looks for them";
  ASSERT_TRUE(freeze(3));
  EXPECT_EQ(tree_.stat(kEmpty).staged, 9u);
  EXPECT_TRUE(is_forgotten(*frozen().inode(kEmpty).value()));
  ASSERT_EQ(tree_->orphans().value().size(), 1u);
}

TEST_F(TreeFreezeTest, WhatCannotBeWrittenChangesNothing) {
  make("file");
  const auto failed = tree_->freeze(
      3, [] { return Result<std::vector<WritableTree::Entry>>{std::vector<WritableTree::Entry>{}}; },
      [](cas::Database::Batch&&, Ino) -> Result<void> { return fail(Errc::io, "no"); });
  EXPECT_FALSE(failed);
  EXPECT_EQ(tree_->reader().layer(), 2u);
  EXPECT_NE(make("more"), 0u);
}

TEST_F(TreeFreezeTest, AFileInUseIsNeverMissingWhileItsRecordMovesUp) {
  const Ino file = make("gone", 7);
  ASSERT_TRUE(tree_->unlink(kRootIno, "gone", {}));
  std::future<bool> found;
  when_written_ = [&] {
    found = std::async(std::launch::async, [&] { return tree_->inode(file).value().has_value(); });
    found.wait_for(std::chrono::milliseconds{50});  // it finds nothing, or waits until readers see the new layer
  };
  ASSERT_TRUE(freeze(3));
  EXPECT_TRUE(found.get());
}

}  // namespace
}  // namespace stellarium::fs
