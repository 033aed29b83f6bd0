#include "fs/settle.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "fs/clone_bodies.h"
#include "fs/clones.h"
#include "fs/layer_store.h"
#include "fs/snapshots.h"
#include "fs/staged_first.h"
#include "support/fake_tier.h"
#include "support/image_store.h"
#include "support/random_bytes.h"
#include "support/tar_maker.h"

namespace stellarium::fs {
namespace {

using test::must;
using namespace std::chrono_literals;

std::string noise(std::uint64_t seed, std::size_t size) {
  const auto bytes = test::random_bytes(seed, size);
  return std::string{as_text(bytes)};
}

/// A clone as a mount has it.
struct Mounted {
  Mounted(test::ImageStore& store, Staging& staging, tier::Tier& tier, OpenClones& clones, const std::string& name)
      : tree{must(
            WritableTree::open(*store.database, must(Clones{*store.database, *store.catalog}.find(name)).layers))},
        bodies{std::make_shared<CloneBodies>(*tree, staging, tier, *store.database)},
        known{clones.add({tree, bodies, [this](Ino ino) { return open.contains(ino); }})} {}

  Ino write(const std::string& name, std::string_view bytes, off_t offset = 0) {
    const auto found = tree->reader().resolve(name, false);
    const Ino ino = found ? found->ino : must(tree->make(kRootIno, name, {.mode = S_IFREG | 0644}, {})).ino;
    EXPECT_EQ(must(bodies->write(ino, as_bytes(bytes), static_cast<std::uint64_t>(offset))), bytes.size());
    return ino;
  }
  Inode stat(Ino ino) {
    Inode inode = *must(tree->reader().inode(ino));
    must(bodies->refresh(ino, inode));
    return inode;
  }

  std::shared_ptr<WritableTree> tree;
  std::shared_ptr<CloneBodies> bodies;
  std::set<Ino> open;
  std::shared_ptr<const void> known;
};

class SettleTest : public testing::Test {
 protected:
  SettleTest() {
    must(store_.import("debian", test::TarMaker{}.file("known", known_).whole()));
    const LayerId image = must(store_.catalog->find(must(ImageName::parse("debian")))).layer;
    must(clones().create("web", {image}, "debian"));
    mount();
  }
  Clones clones() { return Clones{*store_.database, *store_.catalog}; }
  void mount() { mounted_.emplace(store_, *staging_, tier_, open_clones_, "web"); }
  /// A snapshot, and the clone goes on above it.
  void snapshot(const std::string& name) {
    mounted_.reset();
    must(Snapshots{{*store_.database, *store_.catalog, *staging_, open_clones_}}.make("web", name));
    mount();
  }
  Settler::Report settle(std::chrono::milliseconds quiet = 0ms, const Settler::GoOn& go_on = {}) {
    return must(settler_.settle(
        must(written_layers(*store_.database)), quiet, go_on ? go_on : [](const Settler::Report&) { return true; }));
  }
  /// What a reader of these layers gets, whatever the body.
  std::string bytes(const std::vector<LayerId>& layers, Ino ino) {
    const Inode inode = *must(LayerReader{*store_.database, layers}.inode(ino));
    if (inode.body != Body::staged) return store_.content(inode);
    const auto file = must(staging_->find(inode.staged));
    std::string read(static_cast<std::size_t>(must(staging_->status(inode.staged)).st_size), '\0');
    EXPECT_EQ(must(system_io().read_at(file->fd(), std::as_writable_bytes(std::span{read}), 0)), read.size());
    return read;
  }
  std::string bytes(Ino ino) { return bytes(mounted_->tree->reader().layers(), ino); }
  Body body(Ino ino) { return must(mounted_->tree->reader().inode(ino))->body; }
  std::size_t staged_files() { return must(staging_->list()).size(); }

  const std::string known_ = noise(1, 100'000);
  test::ImageStore store_;
  test::TempDir dir_;
  test::FakeTier tier_{dir_.path()};
  std::unique_ptr<Staging> staging_ = must(Staging::open(system_io(), dir_ / "staged"));
  StagedFirst staged_first_{*store_.database, *staging_};
  OpenClones open_clones_;
  Settler settler_{{*store_.database, *store_.contents, *store_.catalog, *staging_, open_clones_, tier_}};
  std::optional<Mounted> mounted_;
};

TEST_F(SettleTest, AQuietFileBecomesAContentAndItsStagedFileGoes) {
  const std::string text = noise(2, 300'000);
  const Ino ino = mounted_->write("new", text);
  const Inode before = mounted_->stat(ino);
  const auto report = settle();
  EXPECT_EQ(report.files, 1u);
  EXPECT_EQ(report.bytes, text.size());
  EXPECT_EQ(report.bytes_new, text.size());
  EXPECT_EQ(report.busy, 0u);
  const Inode after = mounted_->stat(ino);
  EXPECT_EQ(after.body, Body::content);
  EXPECT_EQ(after.size, before.size);
  EXPECT_EQ(after.allocated, after.size);
  EXPECT_EQ(after.mtime, before.mtime);
  EXPECT_EQ(after.ctime, before.ctime);
  EXPECT_EQ(after.atime, before.atime);
  EXPECT_EQ(after.mode, before.mode);
  EXPECT_EQ(bytes(ino), text);
  EXPECT_EQ(staged_files(), 0u);
}

TEST_F(SettleTest, WhatWasCutOffAfterTheFileWasFoundDoesNotComeBack) {
  std::string text = noise(4, CloneBodies::kWholeCopy + 300'000);
  const Ino ino = mounted_->write("large", text);
  settle();
  tier_.add(text);
  text.replace(100, 5, "other");
  mounted_->write("large", "other", 100);  // sparse over the content, of which all shows
  bool cut = false;
  const auto report = settle(0ms, [&](const Settler::Report&) {
    if (std::exchange(cut, true)) return true;
    must(mounted_->bodies->truncate(ino, CloneBodies::kWholeCopy + 100));
    must(mounted_->bodies->truncate(ino, text.size()));
    std::this_thread::sleep_for(50ms);
    return true;
  });
  EXPECT_EQ(report.files, 1u);
  text.replace(CloneBodies::kWholeCopy + 100, std::string::npos, 300'000 - 100, '\0');
  EXPECT_EQ(body(ino), Body::content);
  EXPECT_TRUE(bytes(ino) == text);
}

TEST_F(SettleTest, AFileThatIsSparseOverAContentBecomesOneAsAWhole) {
  std::string text = noise(3, CloneBodies::kWholeCopy + 100'000);
  text.replace(200'000, 50'000, 50'000, '\0');
  const Ino ino = mounted_->write("large", text);
  settle();
  tier_.add(text);
  mounted_->write("large", "here", 3'000'000);
  ASSERT_TRUE(mounted_->stat(ino).base);
  const auto report = settle();
  EXPECT_EQ(report.files, 1u);
  EXPECT_LE(report.bytes_new, 4 * cas::kMaxChunk);
  EXPECT_EQ(body(ino), Body::content);
  EXPECT_FALSE(mounted_->stat(ino).base);
  text.replace(3'000'000, 4, "here");
  const std::string now = bytes(ino);
  ASSERT_EQ(now.size(), text.size());
  EXPECT_EQ(std::ranges::mismatch(now, text).in1 - now.begin(), static_cast<std::ptrdiff_t>(text.size()));
  EXPECT_LT(mounted_->stat(ino).allocated, text.size()) << "holes of the content stay holes";
  EXPECT_EQ(staged_files(), 0u);
}

TEST_F(SettleTest, WhatTheStoreHasCostsNothing) {
  const Ino ino = mounted_->write("copy", known_);
  const auto report = settle();
  EXPECT_EQ(report.files, 1u);
  EXPECT_EQ(report.bytes_new, 0u);
  EXPECT_EQ(mounted_->stat(ino).content, store_.stat("debian", "known").content);
}

TEST_F(SettleTest, SmallAndEmptyFilesLieInTheirRecords) {
  const Ino small = mounted_->write("small", "hello"), empty = mounted_->write("empty", "x");
  must(mounted_->bodies->truncate(empty, 0));
  EXPECT_EQ(settle().files, 2u);
  EXPECT_EQ(body(small), Body::inline_);
  EXPECT_EQ(bytes(small), "hello");
  EXPECT_EQ(body(empty), Body::none);
  EXPECT_EQ(staged_files(), 0u);
}

TEST_F(SettleTest, HolesStayHoles) {
  const Ino middle = mounted_->write("middle", noise(3, 4096), 8 << 20);
  must(mounted_->bodies->truncate(middle, 16 << 20));
  const Ino all = mounted_->write("all", "x");
  must(mounted_->bodies->truncate(all, 0));
  must(mounted_->bodies->truncate(all, 1 << 20));
  std::string wanted(16 << 20, '\0');
  wanted.replace(8 << 20, 4096, noise(3, 4096));
  settle();
  EXPECT_EQ(mounted_->stat(middle).allocated, 4096u);
  EXPECT_TRUE(bytes(middle) == wanted);
  EXPECT_EQ(mounted_->stat(all).allocated, 0u);
  EXPECT_TRUE(bytes(all) == std::string(1 << 20, '\0'));
}

TEST_F(SettleTest, ProgramsAreKnownByTheirFirstBytes) {
  const Ino ino = mounted_->write("library",
                                  "\x7f"
                                  "ELF" +
                                      noise(4, 1000));
  const Ino other = mounted_->write("other", noise(5, 1000));
  settle();
  EXPECT_TRUE(mounted_->stat(ino).program);
  EXPECT_FALSE(mounted_->stat(other).program);
}

TEST_F(SettleTest, AnOpenFileIsBusy) {
  const Ino ino = mounted_->write("log", noise(6, 1000));
  mounted_->open.insert(ino);
  const auto report = settle();
  EXPECT_EQ(report.files, 0u);
  EXPECT_EQ(report.busy, 1u);
  EXPECT_EQ(body(ino), Body::staged);
  mounted_->open.clear();
  EXPECT_EQ(settle().files, 1u);
}

TEST_F(SettleTest, AFileThatWasChangedLatelyIsBusy) {
  mounted_->write("log", noise(6, 1000));
  EXPECT_EQ(settle(1h).busy, 1u);
  EXPECT_EQ(staged_files(), 1u);
}

TEST_F(SettleTest, ALargeFileMustBeQuietForLonger) {
  EXPECT_EQ(Settler::quiet_time(0, 30s), 30s);
  EXPECT_EQ(Settler::quiet_time(31 << 20, 30s), 30s);
  EXPECT_EQ(Settler::quiet_time(128 << 20, 30s), 150s);
}

/// Calls `once` in the midst of reading the first file.
Settler::GoOn during_reading(const std::function<void()>& once) {
  return [once, asked = 0](const Settler::Report&) mutable {
    if (++asked == 3) once();
    return true;
  };
}

TEST_F(SettleTest, AFileThatIsWrittenWhileItIsReadStaysStaged) {
  std::string text = noise(7, 2 << 20);
  const Ino ino = mounted_->write("file", text);
  const auto report = settle(0ms, during_reading([&] { mounted_->write("file", "changed", 10); }));
  text.replace(10, 7, "changed");
  EXPECT_EQ(report.files, 0u);
  EXPECT_EQ(report.busy, 1u);
  EXPECT_TRUE(bytes(ino) == text);
  EXPECT_EQ(settle().files, 1u);
  EXPECT_TRUE(bytes(ino) == text);
}

TEST_F(SettleTest, AFileThatIsOpenedWhileItIsReadStaysStaged) {
  const Ino ino = mounted_->write("file", noise(7, 2 << 20));
  EXPECT_EQ(settle(0ms, during_reading([&] { mounted_->open.insert(ino); })).busy, 1u);
  EXPECT_EQ(body(ino), Body::staged);
}

TEST_F(SettleTest, AFileThatIsCutOrRemovedWhileItIsReadIsLeftAlone) {
  const Ino cut = mounted_->write("cut", noise(8, 2 << 20));
  settle(0ms, during_reading([&] { must(mounted_->bodies->truncate(cut, 100)); }));
  EXPECT_EQ(bytes(cut), noise(8, 2 << 20).substr(0, 100));
  settle();
  const Ino gone = mounted_->write("gone", noise(9, 2 << 20));
  const auto report = settle(0ms, during_reading([&] {
                               const auto entry = must(mounted_->tree->unlink(kRootIno, "gone", {}));
                               mounted_->bodies->drop(entry.ino, entry.inode);
                             }));
  EXPECT_EQ(report.files, 0u);
  EXPECT_EQ(body(gone), Body::staged);
}

TEST_F(SettleTest, WhoHasTheFileInHandKeepsItStaged) {
  const Ino ino = mounted_->write("file", noise(10, 1000));
  const auto file = must(mounted_->bodies->writable(ino));
  EXPECT_EQ(settle().busy, 1u);
  EXPECT_EQ(body(ino), Body::staged);
}

TEST_F(SettleTest, AReaderWithAnOldRecordFindsTheBytes) {
  const std::string text = noise(11, 5000);
  Inode old = *must(mounted_->tree->reader().inode(mounted_->write("file", text)));
  const Ino ino = mounted_->tree->reader().resolve("file", false)->ino;
  settle();
  ASSERT_EQ(staged_files(), 0u);
  tier_.add(text);
  std::string read(text.size(), '\0');
  old.size = text.size();
  EXPECT_EQ(must(mounted_->bodies->read(ino, old, 0, std::as_writable_bytes(std::span{read}))), text.size());
  EXPECT_EQ(old.body, Body::content);
}

TEST_F(SettleTest, ALeaseKeepsTheFilesOfEarlierRecords) {
  mounted_->write("file", noise(12, 5000));
  auto lease = staging_->leases().take();
  EXPECT_EQ(settle().files, 1u);
  EXPECT_EQ(staged_files(), 1u);
  lease.reset();
  EXPECT_EQ(staged_files(), 0u);
}

TEST_F(SettleTest, CloneThatIsNotMountedIsSettledToo) {
  const Ino ino = mounted_->write("file", noise(13, 50'000));
  mounted_.reset();
  EXPECT_EQ(settle().files, 1u);
  mount();
  EXPECT_EQ(body(ino), Body::content);
  EXPECT_EQ(bytes(ino), noise(13, 50'000));
}

TEST_F(SettleTest, ASnapshotIsSettledTogetherWithWhatBorrowsFromIt) {
  const std::string text = noise(14, 50'000);
  const Ino ino = mounted_->write("file", text);
  snapshot("monday");
  must(mounted_->tree->change(ino,
                              [](Inode& inode) -> Result<void> {
                                inode.mode = S_IFREG | 0600;
                                return {};
                              },
                              {}));
  const auto below = must(clones().find_snapshot("web", "monday")).layers;
  EXPECT_EQ(settle().files, 1u);
  EXPECT_EQ(staged_files(), 0u);
  EXPECT_EQ(bytes(ino), text);
  EXPECT_EQ(bytes(below, ino), text);
  EXPECT_EQ(mounted_->stat(ino).mode & 0777, 0600u);
  EXPECT_EQ(must(LayerReader{*store_.database, below}.inode(ino))->mode & 0777, 0644u);
  // What is written from now on is the clone's own.
  tier_.add(text);
  mounted_->write("file", "changed");
  EXPECT_EQ(bytes(below, ino), text);
  EXPECT_EQ(bytes(ino).substr(0, 7), "changed");
}

TEST_F(SettleTest, TheFileThatReplacedASnapshotsIsSettledByItself) {
  const Ino ino = mounted_->write("file", noise(15, 50'000));
  snapshot("monday");
  mounted_->write("file", "changed");
  const auto below = must(clones().find_snapshot("web", "monday")).layers;
  EXPECT_EQ(settle().files, 2u);
  EXPECT_EQ(bytes(below, ino), noise(15, 50'000));
  EXPECT_EQ(bytes(ino).substr(0, 7), "changed");
}

TEST_F(SettleTest, AClonesSnapshotInTheMidstOfItKeepsBothRight) {
  const std::string text = noise(16, 2 << 20);
  const Ino ino = mounted_->write("file", text);
  settle(0ms, during_reading([&] {
           snapshot("monday");
           must(mounted_->tree->change(ino,
                                       [](Inode& inode) -> Result<void> {
                                         inode.uid = 7;
                                         return {};
                                       },
                                       {}));
         }));
  const auto below = must(clones().find_snapshot("web", "monday")).layers;
  EXPECT_EQ(body(ino), Body::content);
  EXPECT_TRUE(bytes(ino) == text);
  EXPECT_TRUE(bytes(below, ino) == text);
  EXPECT_EQ(mounted_->stat(ino).uid, 7u);
}

TEST_F(SettleTest, ARemovedClonesLayersAreLeftAlone) {
  mounted_->write("file", noise(17, 2 << 20));
  mounted_.reset();
  const auto report = settle(0ms, during_reading([&] {
                               must(clones().remove("web"));
                               must(store_.catalog->sweep());
                             }));
  EXPECT_EQ(report.files, 0u);
  EXPECT_TRUE(must(read_layers(*store_.database)).size() == 1);
}

TEST_F(SettleTest, ManyFilesAreSettledInGroups) {
  for (int i = 0; i < 2500; ++i)
    mounted_->write("f" + std::to_string(i), "file " + std::to_string(i) + known_.substr(0, 100));
  EXPECT_EQ(settle().files, 2500u);
  EXPECT_EQ(staged_files(), 0u);
  for (int i = 0; i < 2500; i += 500)
    EXPECT_EQ(bytes(mounted_->tree->reader().resolve("f" + std::to_string(i), false)->ino),
              "file " + std::to_string(i) + known_.substr(0, 100));
}

TEST_F(SettleTest, WhatWasReadBeforeAStopIsSettled) {
  for (int i = 0; i < 10; ++i) mounted_->write("f" + std::to_string(i), noise(20, 1000));
  int asked = 0;
  const auto report = settle(0ms, [&](const Settler::Report&) { return ++asked <= 6; });
  EXPECT_EQ(report.files, 3u);
  EXPECT_EQ(staged_files(), 7u);
}

TEST_F(SettleTest, GarbageCollectionKeepsWhatWasSettled) {
  const std::string text = noise(21, 2 << 20);
  const Ino ino = mounted_->write("file", text);
  settle();
  must(store_.contents->collect(store_.catalog->live_contents(), false, false, {}));
  EXPECT_TRUE(bytes(ino) == text);
}

}  // namespace
}  // namespace stellarium::fs
