#include "fs/clones.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fs/layer_store.h"
#include "fs/names_journal.h"
#include "fs/open_clones.h"
#include "fs/rebuild_names.h"
#include "fs/snapshots.h"
#include "fs/staging.h"
#include "support/image_store.h"
#include "support/tar_maker.h"
#include "support/temp_dir.h"

namespace stellarium::fs {
namespace {

using test::must;

class ClonesTest : public testing::Test {
 protected:
  ClonesTest() {
    must(store_.import("debian", test::TarMaker{}.file("etc/hostname", "debian\n").file("bin/sh", "#!").whole()));
    image_ = must(store_.catalog->find(must(ImageName::parse("debian"))));
  }
  Clones clones() { return Clones{*store_.database, *store_.catalog}; }
  Clone clone(const std::string& name) { return must(clones().create(name, {image_.layer}, "debian:latest")); }

  Clone snapshot(const std::string& name, const std::string& snapshot) {
    must(snapshots_.make(name, snapshot));
    return must(clones().find(name));
  }

  test::ImageStore store_;
  test::TempDir dir_;
  std::unique_ptr<Staging> staging_ = must(Staging::open(system_io(), dir_ / "staged"));
  OpenClones open_clones_;
  Snapshots snapshots_{{*store_.database, *store_.catalog, *staging_, open_clones_}};
  Image image_;
};

TEST_F(ClonesTest, AFreshCloneShowsItsImage) {
  const Clone made = clone("web");
  const LayerReader reader{*store_.database, made.layers};
  EXPECT_EQ(store_.content(must(reader.resolve("etc/hostname", false)).inode), "debian\n");
  EXPECT_EQ(made.layers.back(), image_.layer);
  EXPECT_NE(made.tree, image_.tree);
  const LayerRecord layer = **read_layer(*store_.database, made.layers.front());
  EXPECT_EQ(layer.state, LayerRecord::State::writable);
  EXPECT_EQ(layer.next_ino, image_.files + 1);
}

TEST_F(ClonesTest, SurvivesAReopenAndIsListed) {
  clone("web");
  clone("db");
  store_.close();
  store_.open();
  const auto listed = must(clones().list());
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0].name, "db");
  EXPECT_EQ(listed[1].name, "web");
  EXPECT_EQ(listed[1].origin, "debian:latest");
}

TEST_F(ClonesTest, NamesAreUniqueAmongClonesAndImages) {
  clone("web");
  EXPECT_EQ(clones().create("web", {image_.layer}, "").error().code, Errc::exists);
  EXPECT_EQ(clones().create("debian", {image_.layer}, "").error().code, Errc::exists);
  EXPECT_EQ(clones().create("a:b", {image_.layer}, "").error().code, Errc::invalid_argument);
  EXPECT_EQ(clones().create("", {image_.layer}, "").error().code, Errc::invalid_argument);
  EXPECT_EQ(store_.import("web", test::TarMaker{}.file("f", "x").whole()).error().code, Errc::exists);
}

TEST_F(ClonesTest, ManyAreMadeAtOnceOrNone) {
  std::vector<std::string> names;
  for (int number = 0; number < 1000; ++number) names.push_back("vm" + std::to_string(number));
  const auto made = must(clones().create_all(names, {image_.layer}, "debian"));
  ASSERT_EQ(made.size(), names.size());
  std::set<LayerId> layers;
  std::set<TreeId> trees;
  for (std::size_t at = 0; at < made.size(); ++at) {
    EXPECT_EQ(made[at].name, names[at]);
    const Clone found = must(clones().find(names[at]));
    EXPECT_EQ(found.layers, made[at].layers);
    EXPECT_EQ(found.tree, made[at].tree);
    layers.insert(found.layers.front());
    trees.insert(found.tree);
  }
  EXPECT_EQ(layers.size(), names.size());
  EXPECT_EQ(trees.size(), names.size());

  EXPECT_EQ(clones().create_all({"a", "vm7", "b"}, {image_.layer}, "").error().code, Errc::exists);
  EXPECT_EQ(clones().create_all({"a", "b", "a"}, {image_.layer}, "").error().code, Errc::invalid_argument);
  EXPECT_EQ(must(clones().list()).size(), names.size());
  EXPECT_GT(clone("next").layers.front(), *layers.rbegin());
}

TEST_F(ClonesTest, ACloneKeepsTheLayersOfAnImageThatLostItsName) {
  const Clone made = clone("web");
  must(store_.catalog->remove(image_.name));
  EXPECT_EQ(must(store_.catalog->sweep()), 0u);
  EXPECT_TRUE((LayerReader{*store_.database, made.layers}.resolve("bin/sh", false)));
  must(clones().remove("web"));
  EXPECT_EQ(must(store_.catalog->sweep()), 2u);
}

TEST_F(ClonesTest, ASnapshotFreezesAndTheCloneKeepsItsTree) {
  const Clone before = clone("web");
  const Clone after = snapshot("web", "monday");
  EXPECT_EQ(after.tree, before.tree);
  ASSERT_EQ(after.layers.size(), 3u);
  EXPECT_EQ(after.layers[1], before.layers[0]);
  const Snapshot snapshot = must(clones().find_snapshot("web", "monday"));
  EXPECT_EQ(snapshot.layers, before.layers);
  EXPECT_NE(snapshot.tree, before.tree);
  EXPECT_EQ((**read_layer(*store_.database, snapshot.layers.front())).state, LayerRecord::State::frozen);
  EXPECT_EQ(snapshots_.make("web", "monday").error().code, Errc::exists);
  EXPECT_EQ(must(clones().snapshots("web")).size(), 1u);
  EXPECT_EQ(must(clones().list()).size(), 1u);
}

TEST_F(ClonesTest, ARollbackGivesNeitherTreeNorInodeNumbersOutAgain) {
  clone("web");
  const Clone later = snapshot("web", "monday");
  const Clone back = must(clones().rollback("web", "monday"));
  EXPECT_NE(back.tree, later.tree);
  EXPECT_EQ(back.layers[1], later.layers[1]);
  EXPECT_GE((**read_layer(*store_.database, back.layers[0])).next_ino,
            (**read_layer(*store_.database, later.layers[0])).next_ino);
  EXPECT_EQ(must(store_.catalog->sweep()), 1u) << "what was written since the snapshot is dropped";
}

TEST_F(ClonesTest, SeveralAreRemovedOrNone) {
  for (const char* name : {"a", "b", "c"}) clone(name);
  snapshot("a", "s");
  const auto remove = [&](const std::vector<std::string>& names) {
    return store_.catalog->change_clones(
        [&](cas::Database::Batch& batch) { return clones().put_removal(batch, names); });
  };
  EXPECT_EQ(remove({"a", "b", "nothing"}).error().code, Errc::not_found);
  EXPECT_EQ(remove({"a", "a@none"}).error().code, Errc::not_found);
  EXPECT_EQ(must(clones().list()).size(), 3u);
  must(remove({"a@s", "a", "c"}));
  EXPECT_EQ(must(clones().list()).size(), 1u);
  EXPECT_EQ(must(store_.catalog->sweep()), 3u);
  EXPECT_EQ(must(read_layers(*store_.database)).size(), 2u);
}

TEST_F(ClonesTest, ImagesAndClonesAreRemovedTogetherOrNotAtAll) {
  clone("web");
  const auto gone = [&](const std::string& name) {
    return store_.catalog->remove_all({image_.name},
                                      [&](cas::Database::Batch& batch) { return clones().put_removal(batch, {name}); });
  };
  EXPECT_FALSE(gone("nothing"));
  EXPECT_TRUE(store_.catalog->find(image_.name));
  must(gone("web"));
  EXPECT_FALSE(store_.catalog->find(image_.name));
  EXPECT_EQ(must(store_.catalog->sweep()), 2u);
}

TEST_F(ClonesTest, WhatBecameDeadWhileTheStoreWasClosedIsFoundAgain) {
  clone("web");
  snapshot("web", "s");
  must(clones().remove("web"));
  store_.close();
  store_.open();
  EXPECT_EQ(must(store_.catalog->sweep()), 2u);
}

TEST_F(ClonesTest, TheJournalKnowsTheirNamesWhenTheDatabaseIsLost) {
  for (const char* name : {"web", "db", "gone"}) clone(name);
  snapshot("web", "monday");
  snapshot("web", "tuesday");
  must(clones().rename("db", "sql"));
  must(clones().remove("gone"));
  must(clones().remove_snapshot("web", "monday"));
  const TreeId last = must(clones().find("web")).tree + 4;
  store_.lose_database();
  store_.database = test::open_database(store_.path() / "db");
  store_.contents = must(cas::ContentStore::open(*store_.database, system_io(), store_.path() / "segments", {}));
  must(store_.contents->rebuild([](std::uint64_t, std::uint64_t) { return true; }));
  const RebuildReport report =
      must(rebuild_names(*store_.database, *store_.contents, system_io(), store_.journal(), store_.scratch()));
  EXPECT_EQ(report.images, 1u);
  EXPECT_EQ(report.clones, 3u);
  ASSERT_EQ(report.lost.size(), 3u);
  EXPECT_TRUE(report.lost[0].starts_with("clone sql, which began as debian:latest: "));
  EXPECT_TRUE(report.lost[1].starts_with("clone web, "));
  EXPECT_TRUE(report.lost[2].starts_with("snapshot web@tuesday: "));
  store_.catalog = must(Catalog::open(*store_.database, system_io(), store_.journal()));
  EXPECT_TRUE(must(clones().list()).empty());
  EXPECT_GT(clone("web").tree, last) << "numbers of lost clones stay taken";
}

TEST_F(ClonesTest, AJournalThatMissedSomethingOrGrewIsSetRightByTheNextOpen) {
  clone("web");
  const auto journal = [&] { return must(must(NamesJournal::open(system_io(), store_.journal())).read()).records; };
  store_.close();
  std::filesystem::remove(store_.journal());
  store_.open();
  EXPECT_EQ(replay_clones(journal()).size(), 1u);
  for (int i = 0; i < 520; ++i) {
    clone("short");
    must(clones().remove("short"));
  }
  const std::size_t before = journal().size();
  EXPECT_GT(before, 1000u);
  store_.close();
  store_.open();
  EXPECT_LT(journal().size(), 10u);
  EXPECT_EQ(replay_clones(journal()).size(), 1u);
  EXPECT_EQ(replay(journal()).size(), 1u);
  clone("db");
  EXPECT_EQ(replay_clones(journal()).size(), 2u);
}

TEST_F(ClonesTest, ARenamedCloneTakesItsSnapshotsAlong) {
  clone("web");
  snapshot("web", "monday");
  must(clones().rename("web", "www"));
  EXPECT_FALSE(clones().find("web"));
  EXPECT_TRUE(clones().find_snapshot("www", "monday"));
  EXPECT_EQ(clones().rename("www", "debian").error().code, Errc::exists);
  EXPECT_EQ(clones().rename("nobody", "x").error().code, Errc::not_found);
}

}  // namespace
}  // namespace stellarium::fs
