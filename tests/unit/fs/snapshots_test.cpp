#include "fs/snapshots.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "fs/settle.h"
#include "fs/staged_first.h"
#include "fs/staged_sweep.h"
#include "support/fake_tier.h"
#include "support/image_store.h"
#include "support/tar_maker.h"

namespace stellarium::fs {
namespace {

using test::must;
using namespace std::chrono_literals;

class SnapshotsTest : public testing::Test {
 protected:
  SnapshotsTest() {
    must(store_.import("debian", test::TarMaker{}.file("known", std::string(1000, 'k')).whole()));
    const LayerId image = must(store_.catalog->find(must(ImageName::parse("debian")))).layer;
    must(clones().create("web", {image}, "debian"));
    mount();
  }
  Clones clones() { return Clones{*store_.database, *store_.catalog}; }
  void mount() {
    tree_ = must(WritableTree::open(*store_.database, must(clones().find("web")).layers));
    bodies_ = std::make_shared<CloneBodies>(*tree_, *staging_, tier_, *store_.database);
    known_ = open_clones_.add({tree_, bodies_, [this](Ino ino) { return open_.contains(ino); },
                               [this] {
                                 if (while_asked_) while_asked_();
                                 return std::vector<Ino>{open_.begin(), open_.end()};
                               },
                               mapped_});
  }
  void unmount() {
    known_.reset();
    bodies_.reset();
    tree_.reset();
  }
  Ino write(const std::string& name, std::string_view bytes) {
    const WriteGate::Pass pass{bodies_->gate()};
    const auto found = tree_->reader().resolve(name, false);
    const Ino ino = found ? found->ino : must(tree_->make(kRootIno, name, {.mode = S_IFREG | 0644}, {})).ino;
    EXPECT_EQ(must(bodies_->write(ino, as_bytes(bytes), 0)), bytes.size());
    return ino;
  }
  Snapshots::Made snapshot(const std::string& name) { return must(snapshots_.make("web", name)); }
  std::string bytes(const std::vector<LayerId>& layers, const std::string& name) {
    const Inode inode = must(LayerReader{*store_.database, layers}.resolve(name, false)).inode;
    const auto file = must(staging_->find(inode.staged));
    std::string read(static_cast<std::size_t>(must(staging_->status(inode.staged)).st_size), '\0');
    EXPECT_EQ(must(system_io().read_at(file->fd(), std::as_writable_bytes(std::span{read}), 0)), read.size());
    return read;
  }
  std::string now(const std::string& name) { return bytes(tree_->reader().layers(), name); }
  std::string at(const std::string& snapshot, const std::string& name) {
    return bytes(must(clones().find_snapshot("web", snapshot)).layers, name);
  }
  std::size_t staged_files() { return must(staging_->list()).size(); }

  test::ImageStore store_;
  test::TempDir dir_;
  test::FakeTier tier_{dir_.path()};
  std::unique_ptr<Staging> staging_ = must(Staging::open(system_io(), dir_ / "staged"));
  std::optional<StagedFirst> staged_first_{std::in_place, *store_.database, *staging_};
  OpenClones open_clones_;
  Snapshots snapshots_{{*store_.database, *store_.catalog, *staging_, open_clones_}};
  std::set<Ino> open_;                 // by programs
  std::function<void()> while_asked_;  // what they do while the snapshot asks who has what open
  std::shared_ptr<MaybeMapped> mapped_ = std::make_shared<MaybeMapped>();
  std::shared_ptr<WritableTree> tree_;
  std::shared_ptr<CloneBodies> bodies_;
  std::shared_ptr<const void> known_;
};

TEST_F(SnapshotsTest, AQuietFileIsFrozenAndCopiedByItsNextWriter) {
  write("file", "one");
  const auto made = snapshot("monday");
  EXPECT_TRUE(made.mounted);
  EXPECT_EQ(made.files, 0u);
  EXPECT_EQ(staged_files(), 1u);
  write("file", "two");
  EXPECT_EQ(now("file"), "two");
  EXPECT_EQ(at("monday", "file"), "one");
}

TEST_F(SnapshotsTest, OfAFileInUseTheSnapshotGetsACopy) {
  const Ino ino = write("log", "one");
  open_.insert(ino);
  const StagedId live = must(tree_->inode(ino))->staged;
  const auto made = snapshot("monday");
  EXPECT_EQ(made.files, 1u);
  EXPECT_EQ(made.bytes, 3u);
  EXPECT_TRUE(made.fuzzy.empty());
  EXPECT_EQ(must(tree_->inode(ino))->staged, live);
  const auto file = must(bodies_->own(ino));
  ASSERT_NE(file, nullptr) << "its next writer need not copy";
  ASSERT_EQ(::pwrite(file->fd(), "two", 3, 3), 3);
  EXPECT_EQ(now("log"), "onetwo");
  EXPECT_EQ(at("monday", "log"), "one");
}

TEST_F(SnapshotsTest, AFileThatIsWrittenAllTheTimeIsFuzzy) {
  const Ino ino = write("log", "one");
  open_.insert(ino);
  const auto file = must(bodies_->own(ino));
  while_asked_ = [&] { EXPECT_EQ(::pwrite(file->fd(), "x", 1, 5), 1); };
  const auto made = snapshot("monday");
  EXPECT_EQ(made.fuzzy, std::vector<Ino>{ino});
  EXPECT_EQ(made.files, 1u);
  EXPECT_EQ(staged_files(), 2u) << "earlier copies went";
}

TEST_F(SnapshotsTest, AFileThatIsOpenedAndWrittenMeanwhileIsCopiedAnew) {
  const Ino ino = write("log", "one");
  const auto file = must(bodies_->own(ino));
  int asked = 0;
  while_asked_ = [&] {
    if (++asked == 2) open_.insert(ino);
    if (asked == 4) {
      EXPECT_EQ(::pwrite(file->fd(), "two", 3, 0), 3);
    }
  };
  EXPECT_TRUE(snapshot("monday").fuzzy.empty());
  EXPECT_EQ(asked, 6) << "copied, decided, and both once more for each surprise";
  EXPECT_EQ(at("monday", "log"), "two");
}

TEST_F(SnapshotsTest, WhoIsToldToStopLeavesNothing) {
  open_.insert(write("log", "one"));
  const auto stopped = snapshots_.make("web", "monday", [] { return false; });
  EXPECT_EQ(stopped.error().code, Errc::cancelled);
  EXPECT_FALSE(clones().find_snapshot("web", "monday"));
  EXPECT_EQ(staged_files(), 1u);
}

TEST_F(SnapshotsTest, WhatIsMappedIsInUseAndWhatIsNotIsStruckOff) {
  const Ino mapped = write("mapped", "one"), closed = write("closed", "two");
  const auto holder = must(bodies_->own(mapped));  // whatever has it open for writing
  mapped_->add(mapped);
  mapped_->add(closed);
  EXPECT_EQ(snapshot("monday").files, 1u);
  EXPECT_EQ(mapped_->list(), std::vector<Ino>{mapped});
}

TEST_F(SnapshotsTest, AfterATakeoverEveryFileMayBeMapped) {
  const Ino ino = write("mapped", "one");
  const auto holder = must(bodies_->own(ino));
  mapped_->set_incomplete(true);
  EXPECT_EQ(snapshot("monday").files, 1u);
  EXPECT_FALSE(mapped_->incomplete());
}

TEST_F(SnapshotsTest, AnUnmountedCloneIsFrozenAsItIs) {
  write("file", "one");
  unmount();
  EXPECT_FALSE(snapshot("monday").mounted);
  mount();
  write("file", "two");
  EXPECT_EQ(at("monday", "file"), "one");
}

TEST_F(SnapshotsTest, NamesAreCheckedBeforeAnythingIsCopied) {
  open_.insert(write("log", "one"));
  snapshot("monday");
  const std::size_t before = staged_files();
  EXPECT_EQ(snapshots_.make("web", "monday").error().code, Errc::exists);
  EXPECT_EQ(snapshots_.make("none", "monday").error().code, Errc::not_found);
  EXPECT_EQ(snapshots_.make("web", "-").error().code, Errc::invalid_argument);
  EXPECT_EQ(staged_files(), before);
}

TEST_F(SnapshotsTest, ItWaitsForWhoIsAtTheGate) {
  const Ino ino = write("file", "one");
  std::optional<WriteGate::Pass> writing;
  writing.emplace(bodies_->gate());
  const auto file = must(bodies_->writable(ino));
  std::atomic<bool> written = false;
  std::jthread late{[&] {
    std::this_thread::sleep_for(150ms);
    EXPECT_EQ(::pwrite(file->fd(), "two", 3, 0), 3);
    written = true;
    writing.reset();
  }};
  snapshot("monday");
  EXPECT_TRUE(written);
  late.join();
  EXPECT_EQ(at("monday", "file"), "two");
}

TEST_F(SnapshotsTest, FilesInUseAreNotSettledUnderTheSnapshot) {
  const Ino ino = write("log", "one");
  open_.insert(ino);
  snapshot("monday");
  open_.clear();
  Settler settler{{*store_.database, *store_.contents, *store_.catalog, *staging_, open_clones_, tier_}};
  const auto report =
      must(settler.settle(must(written_layers(*store_.database)), 0ms, [](const Settler::Report&) { return true; }));
  EXPECT_EQ(report.files, 2u) << "the file, and its copy";
  EXPECT_EQ(staged_files(), 0u);
}

TEST_F(SnapshotsTest, TheSweepFindsWhatASnapshotMovesUpMeanwhile) {
  for (int i = 0; i < 1100; ++i) must(tree_->make(kRootIno, "n" + std::to_string(i), {.mode = S_IFREG | 0644}, {}));
  snapshot("monday");
  open_.insert(write("log", "one"));
  unmount();
  staged_first_.reset();
  staging_ = must(Staging::open(system_io(), dir_ / "staged"));
  staged_first_.emplace(*store_.database, *staging_);
  mount();
  bool made = false;
  const auto removed = sweep_staged(*store_.database, *staging_, [&] {
    if (!std::exchange(made, true)) {
      Snapshots again{{*store_.database, *store_.catalog, *staging_, open_clones_}};
      must(again.make("web", "tuesday"));
    }
    return true;
  });
  EXPECT_TRUE(made);
  EXPECT_EQ(must(removed), 0u);
  EXPECT_EQ(now("log"), "one");
  EXPECT_EQ(at("tuesday", "log"), "one");
}

TEST_F(SnapshotsTest, NothingOfItIsLeftWhenTheCloneIsGone) {
  open_.insert(write("log", "one"));
  snapshot("monday");
  snapshot("tuesday");
  unmount();
  must(clones().remove("web"));
  const auto drop = [&](const std::vector<StagedId>& staged) {
    for (const StagedId id : staged) must(staging_->remove(id));
  };
  EXPECT_EQ(must(store_.catalog->sweep({.go_on = {}, .drop = drop})), 3u);
  EXPECT_EQ(staged_files(), 0u);
}

TEST_F(SnapshotsTest, AsManyAsLayersCanLieOverOneAnother) {
  for (int i = 2; i < 256; ++i) snapshot("s" + std::to_string(i));
  EXPECT_EQ(snapshots_.make("web", "more").error().code, Errc::out_of_space);
  EXPECT_TRUE(clones().find("web"));
}

}  // namespace
}  // namespace stellarium::fs
