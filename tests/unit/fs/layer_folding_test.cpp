#include "fs/layer_folding.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <semaphore>
#include <string>
#include <thread>

#include "fs/clones.h"
#include "fs/layer_store.h"
#include "fs/settle.h"
#include "fs/snapshots.h"
#include "fs/staged_first.h"
#include "support/fake_tier.h"
#include "support/image_store.h"
#include "support/tar_maker.h"

namespace stellarium::fs {
namespace {

using test::must;
using namespace std::chrono_literals;

class LayerFoldingTest : public testing::Test {
 protected:
  LayerFoldingTest() {
    must(store_.import("debian", test::TarMaker{}.file("known", "k").file("etc/motd", "hello").whole()));
    image_ = must(store_.catalog->find(must(ImageName::parse("debian")))).layer;
    must(clones().create("web", {image_}, "debian"));
    mount();
  }
  Clones clones() { return Clones{*store_.database, *store_.catalog}; }
  LayerFolding folding() { return LayerFolding{{*store_.database, *store_.catalog, *staging_, open_clones_}}; }
  void mount() {
    tree_ = must(WritableTree::open(*store_.database, must(clones().find("web")).layers));
    bodies_ = std::make_shared<CloneBodies>(*tree_, *staging_, tier_, *store_.database);
    known_ = open_clones_.add({tree_, bodies_, [](Ino) { return false; }});
  }
  void unmount() {
    known_.reset();
    bodies_.reset();
    tree_.reset();
  }
  void write(const std::string& name, std::string_view bytes) {
    const auto found = tree_->reader().resolve(name, false);
    const Ino ino = found ? found->ino : must(tree_->make(kRootIno, name, {.mode = S_IFREG | 0644}, {})).ino;
    ASSERT_EQ(must(bodies_->write(ino, as_bytes(bytes), 0)), bytes.size());
  }
  std::string now(const std::string& name) {
    const Inode inode = must(tree_->reader().resolve(name, false)).inode;
    if (inode.body != Body::staged) return store_.content(inode);
    const auto file = must(staging_->find(inode.staged));
    std::string read(static_cast<std::size_t>(must(staging_->status(inode.staged)).st_size), '\0');
    EXPECT_EQ(must(system_io().read_at(file->fd(), std::as_writable_bytes(std::span{read}), 0)), read.size());
    return read;
  }
  void snapshot(const std::string& name) {
    must(Snapshots{{*store_.database, *store_.catalog, *staging_, open_clones_}}.make("web", name));
  }
  void remove(const std::string& name) { must(clones().remove_snapshot("web", name)); }
  /// Snapshots that are gone again, with what was written between them: as many layers without names.
  void leave(int layers) {
    for (int i = 0; i < layers; ++i) {
      write("file" + std::to_string(i), "bytes" + std::to_string(i));
      write("log", "log" + std::to_string(i));
      if (i > 0) must(tree_->unlink(kRootIno, "file" + std::to_string(i - 1), {}));
      snapshot("s" + std::to_string(i));
    }
    for (int i = 0; i < layers; ++i) remove("s" + std::to_string(i));
  }
  std::uint64_t sweep() {
    return must(store_.catalog->sweep({
        .go_on = {},
        .drop = [&](std::vector<StagedId> staged) { staging_->leases().remove_when_free(std::move(staged)); },
    }));
  }
  LayerFolding::Report fold() {
    return must(folding().run([] { return true; }));
  }
  std::size_t chain() { return must(clones().find("web")).layers.size(); }
  std::size_t staged_files() { return must(staging_->list()).size(); }

  test::ImageStore store_;
  test::TempDir dir_;
  test::FakeTier tier_{dir_.path()};
  std::unique_ptr<Staging> staging_ = must(Staging::open(system_io(), dir_ / "staged"));
  std::optional<StagedFirst> staged_first_{std::in_place, *store_.database, *staging_};
  OpenClones open_clones_;
  LayerId image_ = 0;
  std::shared_ptr<WritableTree> tree_;
  std::shared_ptr<CloneBodies> bodies_;
  std::shared_ptr<const void> known_;
};

TEST_F(LayerFoldingTest, WhatRemovedSnapshotsLeaveBecomesOneLayer) {
  leave(5);
  EXPECT_EQ(chain(), 7u);
  EXPECT_EQ(fold().folded, 4u);
  EXPECT_EQ(chain(), 3u) << "the written one, one of the removed snapshots', the image";
  EXPECT_EQ(tree_->reader().layers(), must(clones().find("web")).layers);
  EXPECT_EQ(sweep(), 4u);
  EXPECT_EQ(now("log"), "log4");
  EXPECT_EQ(now("file4"), "bytes4");
  EXPECT_EQ(now("known"), "k");
  EXPECT_FALSE(tree_->reader().resolve("file3", false));
  EXPECT_EQ(staged_files(), 2u) << "of what was overwritten or removed nothing is left";
  EXPECT_TRUE(store_.catalog->foldable().empty());
}

TEST_F(LayerFoldingTest, NamesAndInodesThatAreGoneLeaveNothing) {
  must(tree_->unlink(kRootIno, "known", {}));  // of the image: that must stay known
  leave(6);
  fold();
  sweep();
  const LayerId left = tree_->reader().layers()[1];
  std::size_t inodes = 0;
  auto scan = LayerReader{*store_.database, left}.scan_inodes();
  while (must(scan.next())) ++inodes;
  EXPECT_EQ(inodes, 4u) << "the root, the log, the last file, and that the image's is gone";
  EXPECT_FALSE(tree_->reader().resolve("known", false));
}

TEST_F(LayerFoldingTest, LayersWithANameOrWithTwoClonesStay) {
  write("file", "one");
  snapshot("kept");
  leave(3);
  EXPECT_EQ(fold().folded, 2u);
  EXPECT_EQ(chain(), 4u);
  must(clones().create("other", must(clones().find_snapshot("web", "kept")).layers, "web@kept"));
  snapshot("more");
  remove("kept");
  EXPECT_EQ(fold().folded, 0u) << "two clones lie on what was 'kept'";
  must(clones().remove("other"));
  sweep();
  EXPECT_EQ(fold().folded, 1u) << "'more' has a name";
  remove("more");
  EXPECT_EQ(fold().folded, 1u);
  EXPECT_EQ(chain(), 3u);
  EXPECT_EQ(now("file"), "one");
}

TEST_F(LayerFoldingTest, WhoReadsTheLowerLayerAsATreeGoesOnReadingIt) {
  leave(2);
  const LayerId lower = tree_->reader().layers()[2];
  auto pin = store_.catalog->pin(lower);
  const auto report = fold();
  EXPECT_EQ(report.folded, 0u);
  EXPECT_EQ(report.busy, 1u);
  pin.reset();
  EXPECT_EQ(fold().folded, 1u);
}

TEST_F(LayerFoldingTest, WhoReadsTheUpperLayerKeepsItsRecords) {
  leave(2);
  const std::vector<LayerId> layers = tree_->reader().layers();
  auto pin = store_.catalog->pin(layers[1]);
  EXPECT_EQ(fold().folded, 1u);
  EXPECT_EQ(sweep(), 0u);
  EXPECT_TRUE((LayerReader{*store_.database, layers}.resolve("file1", false)));
  pin.reset();
  EXPECT_EQ(sweep(), 1u);
  EXPECT_EQ(now("file1"), "bytes1");
}

TEST_F(LayerFoldingTest, AFoldThatIsStoppedAnywhereChangesNothingAndIsDoneByTheNextServer) {
  for (int i = 0; i < 300; ++i) must(tree_->make(kRootIno, "many" + std::to_string(i), {.mode = S_IFREG | 0644}, {}));
  snapshot("s");
  remove("s");
  leave(1);
  for (int i = 0; i < 300; i += 2) must(tree_->unlink(kRootIno, "many" + std::to_string(i), {}));
  snapshot("t");
  remove("t");
  int stopped = 0;
  for (int parts = 1;; ++parts) {
    int left = parts;
    const auto report = must(folding().run([&] { return --left > 0; }));
    unmount();
    staged_first_.reset();
    staging_.reset();
    store_.close();
    store_.open();
    staging_ = must(Staging::open(system_io(), dir_ / "staged"));
    staged_first_.emplace(*store_.database, *staging_);
    mount();
    for (int i = 0; i < 300; ++i) {
      ASSERT_EQ(tree_->reader().resolve("many" + std::to_string(i), false).has_value(), i % 2 == 1)
          << i << " after " << parts << " parts";
    }
    ASSERT_EQ(now("log"), "log0");
    if (chain() == 3) break;
    ASSERT_LT(parts, 100);
    if (report.folded == 0) ++stopped;
  }
  EXPECT_GT(stopped, 1);
  sweep();
  EXPECT_EQ(now("file0"), "bytes0");
}

TEST_F(LayerFoldingTest, AFileMaySettleBetweenTwoParts) {
  const std::string text(100'000, 'x');
  write("early", text);
  snapshot("s");
  leave(1);
  write("late", text);
  must(tree_->change(must(tree_->reader().resolve("early", false)).ino,
                     [](Inode& inode) -> Result<void> {
                       inode.uid = 7;
                       return {};
                     },
                     {}));
  for (int i = 0; i < 800; ++i) must(tree_->make(kRootIno, "many" + std::to_string(i), {.mode = S_IFREG | 0644}, {}));
  snapshot("t");
  remove("s");
  remove("t");
  Settler settler{{*store_.database, *store_.contents, *store_.catalog, *staging_, open_clones_, tier_}};
  std::uint64_t settled = 0;
  int parts = 0;
  must(folding().run([&] {
    if (++parts % 2 == 0)
      settled += must(settler.settle(must(written_layers(*store_.database)), 0ms, [](const Settler::Report&) {
                   return true;
                 })).files;
    return true;
  }));
  EXPECT_GT(parts, 4);
  EXPECT_GE(settled, 2u);
  sweep();
  EXPECT_EQ(chain(), 3u);
  EXPECT_EQ(now("early"), text);
  EXPECT_EQ(now("late"), text);
  EXPECT_EQ(must(tree_->reader().resolve("early", false)).inode.uid, 7u);
  EXPECT_EQ(staged_files(), 0u);
}

TEST_F(LayerFoldingTest, AFileThatIsJustBeingSettledWhenItIsCopiedDown) {
  const std::string text(100'000, 'x');
  leave(1);
  write("late", text);
  const Ino ino = must(tree_->reader().resolve("late", false)).ino;
  for (int i = 0; i < 1500; ++i) must(tree_->make(kRootIno, "many" + std::to_string(i), {.mode = S_IFREG | 0644}, {}));
  snapshot("t");
  remove("t");
  const std::vector<LayerId> layers = tree_->reader().layers();
  std::binary_semaphore found{0}, copied{0}, settled{0};
  std::thread folder{[&] {
    found.acquire();
    bool waited = false;
    must(folding().run([&] {
      if (waited || !must(LayerReader{*store_.database, layers[2]}.inode(ino))) return true;
      waited = true;
      copied.release();
      settled.acquire();
      return true;
    }));
  }};
  Settler settler{{*store_.database, *store_.contents, *store_.catalog, *staging_, open_clones_, tier_}};
  bool asked = false;
  const auto report = must(settler.settle({layers[1]}, 0ms, [&](const Settler::Report&) {
    if (!asked) {
      asked = true;
      found.release();
      EXPECT_TRUE(copied.try_acquire_for(60s));
    }
    return true;
  }));
  settled.release();
  folder.join();
  EXPECT_EQ(report.files, 1u);
  sweep();
  EXPECT_EQ(chain(), 3u);
  EXPECT_EQ(must(tree_->inode(ino))->body, Body::content);
  EXPECT_EQ(now("late"), text);
}

TEST_F(LayerFoldingTest, ACloneLivesForEver) {
  for (int i = 0; i < 1000; ++i) {
    write("log", std::to_string(i));
    snapshot("s" + std::to_string(i));
    if (i > 0) remove("s" + std::to_string(i - 1));
    if (i == 500) unmount();
    if (i == 500) mount();
    if (i % 7 == 0) fold();
    if (i % 7 == 0) sweep();
    ASSERT_LE(chain(), 12u);
  }
  EXPECT_EQ(now("log"), "999");
  fold();
  sweep();
  EXPECT_EQ(chain(), 4u);
  EXPECT_LE(staged_files(), 2u);
}

TEST_F(LayerFoldingTest, ACloneMayBeRemovedBetweenTwoParts) {
  for (int i = 0; i < 800; ++i) must(tree_->make(kRootIno, "many" + std::to_string(i), {.mode = S_IFREG | 0644}, {}));
  leave(1);
  for (int i = 0; i < 800; ++i) must(tree_->unlink(kRootIno, "many" + std::to_string(i), {}));
  snapshot("t");
  remove("t");
  unmount();
  bool removed = false;
  const auto report = must(folding().run([&] {
    if (!removed) must(clones().remove("web"));
    removed = true;
    sweep();
    return true;
  }));
  EXPECT_TRUE(removed);
  EXPECT_EQ(report.folded, 0u);
  EXPECT_EQ(must(read_layers(*store_.database)).size(), 1u);
  EXPECT_EQ(staged_files(), 0u);
}

}  // namespace
}  // namespace stellarium::fs
