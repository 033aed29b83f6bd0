#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <set>

#include "fs/layer_fold.h"
#include "fs/writable_tree.h"
#include "support/sanitized.h"
#include "support/tree_model.h"
#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

// Thousands of random operations on a clone and on its model, which must agree about every answer and, after every 50
// operations, about everything. The clone is opened anew now and then, and twice it becomes a snapshot under a new
// layer.
class WritableTreeModel : public testing::TestWithParam<unsigned> {
 protected:
  static constexpr int kOperations = 3000, kBetweenWalks = 50, kBetweenReopens = 333;

  unsigned pick(std::size_t below) { return static_cast<unsigned>(random_() % below); }
  std::string name() {
    static const std::string names[] = {
        "usr", "bin", "hello", "empty", "dash", "a", "b", "c", "d", "e", test::kTwinNames[0], test::kTwinNames[1]};
    return names[pick(std::size(names))];
  }
  // Mostly a directory; sometimes one that was removed, another node, or none.
  Ino parent() {
    if (pick(20) == 0) return any();
    auto directory = model_.entries.begin();
    std::advance(directory, pick(model_.entries.size()));
    return directory->first;
  }
  Ino any() {
    if (pick(30) == 0) return 1 + pick(150);
    auto node = model_.nodes.begin();
    std::advance(node, pick(model_.nodes.size()));
    return node->first;
  }

  // The number of what the tree has made, which must be new.
  Ino number(const Result<WritableTree::Entry>& made) {
    if (!made) return 0;
    EXPECT_TRUE(numbers_.insert(made->ino).second) << made->ino << " was given out before";
    return made->ino;
  }

  void make() {
    static constexpr std::uint32_t kTypes[] = {S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO};
    WritableTree::NewNode wanted{.mode = kTypes[pick(std::size(kTypes))] | 0640, .uid = pick(3), .gid = pick(3)};
    if (S_ISREG(wanted.mode)) wanted.staged = pick(1000);
    if (S_ISLNK(wanted.mode)) wanted.symlink = name();
    TreeModel::Node node{.mode = S_ISLNK(wanted.mode) ? S_IFLNK | 0777u : wanted.mode,
                         .uid = wanted.uid,
                         .gid = wanted.gid,
                         .staged = wanted.staged,
                         .target = wanted.symlink};
    const Ino directory = parent();
    if (S_ISREG(wanted.mode) && pick(6) == 0) {
      const auto made = tree_->make_unnamed(directory, wanted, {});
      agree(made, model_.make_unnamed(directory, number(made), node));
    } else {
      const std::string new_name = name();
      if (pick(2) == 0) look(directory, new_name);
      const auto made = tree_->make(directory, new_name, wanted, {});
      agree(made, model_.make(directory, new_name, number(made), node));
    }
  }
  /// What the tree remembers is what is written.
  void look(Ino directory, const std::string& which) {
    const auto read = tree_->reader().lookup(directory, which).value(), told = tree_->lookup(directory, which).value();
    ASSERT_EQ(told ? told->ino : 0, read ? read->ino : 0) << which;
  }
  void rename() {
    static constexpr unsigned kFlags[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT};
    const Ino from = parent(), to = pick(3) == 0 ? from : parent();
    const std::string old_name = name(), new_name = name();
    const unsigned flags = kFlags[pick(std::size(kFlags))];
    const auto renamed = tree_->rename(from, old_name, to, new_name, flags, {});
    Ino whiteout = 0;
    if (renamed && flags == RENAME_WHITEOUT) {
      const Ino left = tree_->reader().lookup(from, old_name).value().value().ino;
      if (left != renamed->moved.ino) {
        whiteout = left;
        EXPECT_TRUE(numbers_.insert(left).second);
      }
    }
    agree(renamed, model_.rename(from, old_name, to, new_name, flags, whiteout));
  }
  void change() {
    const Ino ino = any();
    const std::uint32_t permissions = pick(01000), uid = pick(5);
    const auto changed = tree_->change(ino,
                                       [&](Inode& inode) {
                                         inode.mode = (inode.mode & S_IFMT) | permissions;
                                         inode.uid = uid;
                                         return Result<void>{};
                                       },
                                       {});
    agree(changed, model_.nodes.contains(ino) ? 0 : ESTALE);
    if (!changed) return;
    TreeModel::Node& node = model_.nodes[ino];
    node.mode = (node.mode & S_IFMT) | permissions;
    node.uid = uid;
  }
  void xattr() {
    const Ino ino = any();
    const std::string attribute = "user." + std::to_string(pick(4)), value(pick(50), 'v');
    if (pick(3) == 0) {
      agree(tree_->remove_xattr(ino, attribute, {}), model_.remove_xattr(ino, attribute));
    } else {
      const int flags = static_cast<int>(pick(3));
      agree(tree_->set_xattr(ino, attribute, value, flags, {}), model_.set_xattr(ino, attribute, value, flags));
    }
  }
  void step() {
    const unsigned kind = pick(100);
    if (kind < 30) return make();
    if (kind < 55) return rename();
    if (kind < 65) return change();
    if (kind < 75) return xattr();
    if (kind < 80) return forget(any());
    look(parent(), name());
    const Ino directory = parent(), ino = any();
    const std::string which = name();
    if (kind < 85) return agree(tree_->link(ino, directory, which, {}), model_.link(ino, directory, which));
    if (kind < 94) return agree(tree_->unlink(directory, which, {}), model_.unlink(directory, which));
    agree(tree_->rmdir(directory, which, {}), model_.rmdir(directory, which));
  }
  void forget(Ino ino) {
    ASSERT_TRUE(tree_->forget(ino));
    model_.forget(ino);
  }

  template <typename T>
  void agree(const Result<T>& tree, int model) {
    ASSERT_EQ(test::refusal(tree), model) << (tree ? "" : to_string(tree.error()));
    if (tree) ++done_;
  }

  void compare() {
    const auto found = tree_->orphans().value();
    std::vector<Ino> orphans;
    for (const auto& orphan : found) orphans.push_back(orphan.ino);
    const TreeModel read = TreeModel::read(tree_->reader(), orphans);
    for (const auto& [ino, node] : model_.nodes) {
      ASSERT_TRUE(read.nodes.contains(ino)) << ino;
      ASSERT_EQ(read.nodes.at(ino).nlink, node.nlink) << ino;
    }
    ASSERT_TRUE(read == model_);
    // And nothing else has come back.
    auto scan = tree_->reader().scan_inodes();
    while (const auto next = scan.next().value()) {
      ASSERT_EQ(tree_->inode(next->first).value(), next->second) << next->first;
      if (next->second.nlink != 0) {
        ASSERT_TRUE(model_.nodes.contains(next->first)) << next->first;
      }
    }
  }

  using TreeModel = test::TreeModel;
  std::mt19937 random_{GetParam()};
  test::WrittenTree tree_;
  TreeModel model_ = TreeModel::read(tree_->reader(), {});
  std::set<Ino> numbers_;
  int done_ = 0;
};

TEST_P(WritableTreeModel, AgreesWithTheTree) {
  for (int i = 1; i <= kOperations; ++i) {
    step();
    if (HasFatalFailure()) FAIL() << "operation " << i;
    if (i % kBetweenReopens == 0) tree_.reopen();
    if (i == kOperations / 3 || i == kOperations * 2 / 3) {
      const auto orphans = tree_->orphans().value();
      for (const auto& orphan : orphans) forget(orphan.ino);
      tree_.stack();
    }
    if (i % kBetweenWalks != 0) continue;
    compare();
    if (HasFatalFailure()) FAIL() << "after operation " << i;
  }
  EXPECT_GT(done_, kOperations / 4) << "most were refused";
}

// Every hundred operations there is a layer more, and two of those below become one, while the operations go on.
TEST_P(WritableTreeModel, AgreesWithATreeWhoseLayersAreFolded) {
  std::optional<LayerFold> fold;
  LayerId upper = 0;
  int folded = 0;
  for (int i = 1; i <= kOperations; ++i) {
    step();
    if (HasFatalFailure()) FAIL() << "operation " << i;
    if (i % kBetweenReopens == 0) tree_.reopen();
    if (i % 100 == 0) {
      const auto orphans = tree_->orphans().value();
      for (const auto& orphan : orphans) forget(orphan.ino);
      tree_.stack();
    }
    const std::vector<LayerId>& layers = tree_.layers();
    if (!fold && layers.size() >= 4) {
      const std::size_t at = 1 + pick(layers.size() - 3);  // neither the written one nor the image
      upper = layers[at];
      fold.emplace(
          tree_.database(),
          LayerFold::Layers{upper, layers[at + 1], {layers.begin() + static_cast<long>(at) + 2, layers.end()}});
    }
    if (fold && pick(3) == 0) {
      auto part = fold->next(1 + pick(200), pick(2) == 0).value();
      tree_.write(std::move(part.batch));
      if (pick(40) == 0) {
        fold.reset();  // as a crash would: it begins anew, perhaps with other layers
      } else if (part.last) {
        tree_.leave_out(upper);
        fold.reset();
        ++folded;
      }
    }
    if (i % kBetweenWalks != 0) continue;
    compare();
    if (HasFatalFailure()) FAIL() << "after operation " << i;
  }
  EXPECT_GT(folded, 10);
}

INSTANTIATE_TEST_SUITE_P(Seeds, WritableTreeModel, testing::Range(1u, 1u + static_cast<unsigned>(test::rounds(4))));

}  // namespace
}  // namespace stellarium::fs
