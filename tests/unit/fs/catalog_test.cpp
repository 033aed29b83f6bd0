#include "fs/catalog.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "fs/families.h"
#include "fs/rebuild_names.h"
#include "support/image_store.h"
#include "support/tar_maker.h"

namespace stellarium::fs {
namespace {

ImageName named(const std::string& text) {
  return test::must(ImageName::parse(text));
}

std::string tar_of(const std::string& content) {
  return test::TarMaker{}
      .directory("etc")
      .file("etc/motd", content)
      .file("etc/issue", std::string(70'000, 'i'))
      .whole();
}

class CatalogTest : public testing::Test {
 protected:
  Image import(const std::string& name, const std::string& content = std::string(100, 'x')) {
    return test::must(store_.import(name, tar_of(content))).image;
  }
  std::size_t inodes_of(LayerId layer) const {
    auto scan = LayerReader{*store_.database, layer}.scan_inodes();
    std::size_t count = 0;
    while (test::must(scan.next())) ++count;
    return count;
  }
  std::set<std::string> live() const {
    std::set<std::string> ids;
    test::must(store_.catalog->live_contents()([&](const auto& content) { ids.insert(content.id.hex()); }));
    return ids;
  }

  /// Makes the database anew from the segments and the journal.
  RebuildReport rebuild() {
    store_.database = test::open_database(store_.path() / "db");
    store_.contents =
        test::must(cas::ContentStore::open(*store_.database, system_io(), store_.path() / "segments", {}));
    test::must(store_.contents->rebuild([](std::uint64_t, std::uint64_t) { return true; }));
    return test::must(
        rebuild_names(*store_.database, *store_.contents, system_io(), store_.journal(), store_.scratch()));
  }

  test::ImageStore store_;
};

TEST(ImageName, TakesNamesWithAndWithoutTag) {
  EXPECT_EQ(named("web").text(), "web:latest");
  EXPECT_EQ(named("Web_1.2-x:v1").text(), "Web_1.2-x:v1");
  for (const char* bad : {"", ":", "web:", ".web", "-web", "a/b", "a:b:c", "w\xc3\xa4", "web:.x", "a b"}) {
    EXPECT_FALSE(ImageName::parse(bad)) << bad;
  }
  EXPECT_FALSE(ImageName::parse(std::string(129, 'n')));
}

TEST_F(CatalogTest, FindsAndListsWhatWasPublished) {
  const Image web = import("web");
  import("db:v1", std::string(200, 'y'));
  const Image found = test::must(store_.catalog->find(named("web")));
  EXPECT_EQ(found.layer, web.layer);
  EXPECT_EQ(found.manifest, web.manifest);
  EXPECT_EQ(found.files, 4u);
  EXPECT_EQ(found.bytes, 70'100u);
  EXPECT_EQ(found.source, "test.tar");
  const auto all = test::must(store_.catalog->list());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].name.text(), "db:v1");
  EXPECT_EQ(store_.catalog->find(named("nope")).error().context, "there is no image nope:latest");
}

TEST_F(CatalogTest, NumbersAreNeverGivenOutTwice) {
  const Image first = import("web");
  test::must(store_.catalog->remove(named("web")));
  test::must(store_.catalog->sweep());
  store_.close();
  store_.open();
  const Image second = import("web");
  EXPECT_GT(second.layer, first.layer);
  EXPECT_GT(second.tree, first.tree);
}

TEST_F(CatalogTest, ALayerThatWasNotPublishedIsGoneAfterTheNextOpen) {
  import("web");
  LayerId abandoned = 0;
  {
    const auto layer = test::must(store_.catalog->begin_layer());
    abandoned = layer.layer;
    test::put_inode(*store_.database, abandoned, 0, "", kRootIno, test::make_directory(kRootIno));
  }
  EXPECT_EQ(inodes_of(abandoned), 1u);
  store_.close();
  store_.open();
  EXPECT_EQ(inodes_of(abandoned), 0u);
  EXPECT_EQ(test::must(store_.catalog->list()).size(), 1u);
}

TEST_F(CatalogTest, SweepKeepsWhatIsNamedPinnedOrBeingBuilt) {
  const Image web = import("web");
  const Image old = import("db", std::string(100, 'y'));
  const auto building = test::must(store_.catalog->begin_layer());
  auto pin = store_.catalog->pin(old.layer);
  test::must(store_.catalog->remove(named("db")));
  EXPECT_EQ(test::must(store_.catalog->sweep()), 0u);
  EXPECT_EQ(inodes_of(old.layer), 4u);
  pin.reset();
  EXPECT_EQ(test::must(store_.catalog->sweep()), 1u);
  EXPECT_EQ(inodes_of(old.layer), 0u);
  EXPECT_EQ(inodes_of(web.layer), 4u);
}

TEST_F(CatalogTest, AReplacedImageLeavesItsOldLayerToSweep) {
  const Image before = import("web", std::string(100, 'a'));
  const Image after = import("web", std::string(100, 'b'));
  EXPECT_NE(before.manifest, after.manifest);
  EXPECT_EQ(test::must(store_.catalog->find(named("web"))).layer, after.layer);
  EXPECT_EQ(test::must(store_.catalog->sweep()), 1u);
}

TEST_F(CatalogTest, TheSameTreeAgainIsOneLayerWithOneMoreName) {
  const Image web = import("web");
  const Image again = import("www");
  EXPECT_EQ(again.layer, web.layer);
  EXPECT_EQ(again.manifest, web.manifest);
  EXPECT_EQ(again.files, web.files);
  EXPECT_EQ(again.bytes, web.bytes);
  const Image found = test::must(store_.catalog->find(named("www")));
  EXPECT_EQ(test::must(store_.catalog->find(named("web"))).tree, web.tree);
  EXPECT_NE(found.tree, web.tree) << "a mount of the whole store shows both";

  test::must(store_.catalog->remove(named("web")));
  EXPECT_EQ(test::must(store_.catalog->sweep()), 0u);
  EXPECT_EQ(inodes_of(web.layer), 4u);
  EXPECT_EQ(store_.content(store_.stat("www", "etc/motd")), std::string(100, 'x'));
  test::must(store_.catalog->remove(named("www")));
  EXPECT_EQ(test::must(store_.catalog->sweep()), 1u);
  EXPECT_EQ(inodes_of(web.layer), 0u);
  EXPECT_NE(import("web").layer, web.layer);
}

TEST_F(CatalogTest, AnImageThatIsImportedAgainKeepsItsNodeNumbers) {
  const Image before = import("web");
  import("www");
  import("web");
  const Image after = test::must(store_.catalog->find(named("web")));
  EXPECT_EQ(after.layer, before.layer);
  EXPECT_EQ(after.tree, before.tree);
}

TEST_F(CatalogTest, ALayerThatLostItsNamesGetsNoNewOne) {
  const Image web = import("web");
  const auto pin = store_.catalog->pin(web.layer);
  test::must(store_.catalog->remove(named("web")));
  EXPECT_NE(import("web").layer, web.layer) << "gc may have passed by since";
}

TEST_F(CatalogTest, ASealedLayerNobodyHoldsIsNotPublishedAgain) {
  Image web = import("web");
  web.name = named("www");
  EXPECT_FALSE(store_.catalog->publish(web, {}));
  const auto pin = store_.catalog->pin(web.layer);
  EXPECT_TRUE(store_.catalog->publish(web, {}));
}

TEST_F(CatalogTest, NamesOfOneLayerSurviveTheNextOpen) {
  const Image web = import("web");
  const Image www = import("www");
  store_.close();
  store_.open();
  EXPECT_EQ(test::must(store_.catalog->find(named("web"))).tree, web.tree);
  EXPECT_EQ(test::must(store_.catalog->find(named("www"))).layer, web.layer);
  EXPECT_NE(test::must(store_.catalog->find(named("www"))).tree, web.tree);
  EXPECT_EQ(test::must(store_.catalog->history(named("www"))).size(), 1u) << "the journal said so already";
  EXPECT_EQ(import("third").layer, web.layer);
}

TEST_F(CatalogTest, RenamesOnlyToAFreeName) {
  const Image web = import("web");
  import("db");
  EXPECT_EQ(store_.catalog->rename(named("web"), named("db")).error().code, Errc::exists);
  EXPECT_EQ(store_.catalog->rename(named("nope"), named("x")).error().code, Errc::not_found);
  test::must(store_.catalog->rename(named("web"), named("www:v2")));
  EXPECT_EQ(test::must(store_.catalog->find(named("www:v2"))).layer, web.layer);
  EXPECT_FALSE(store_.catalog->find(named("web")));
}

TEST_F(CatalogTest, HistoryFollowsAnImageThroughItsNames) {
  import("web");
  test::must(store_.catalog->rename(named("web"), named("www")));
  test::must(store_.catalog->remove(named("www")));
  const auto events = test::must(store_.catalog->history(named("www")));
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].what, "import");
  EXPECT_EQ(events[1].what, "rename");
  EXPECT_EQ(events[1].detail, "from web:latest");
  EXPECT_EQ(events[2].what, "remove");
  EXPECT_EQ(store_.catalog->history(named("web")).error().code, Errc::not_found);
}

TEST_F(CatalogTest, RootsOfGcAreTheContentsOfLivingLayersAndTheLayersThemselves) {
  const Image web = import("web", std::string(100, 'a'));
  const Image db = import("db", std::string(100, 'b'));
  test::must(store_.catalog->remove(named("db")));
  const auto roots = live();
  EXPECT_EQ(roots.size(), 3u);
  EXPECT_TRUE(roots.contains(web.manifest.hex()));
  EXPECT_TRUE(roots.contains(cas::hash_of(as_bytes(std::string(100, 'a'))).hex()));
  EXPECT_FALSE(roots.contains(db.manifest.hex()));
}

TEST_F(CatalogTest, UnreadableInodesStopGcBeforeAnythingIsDeleted) {
  const Image web = import("web");
  cas::Database::Batch batch;
  batch.put(kInodeFamily, inode_key(web.layer, 2), "garbage");
  test::must(store_.database->write(std::move(batch), cas::Database::Sync::no));
  const auto visited = store_.catalog->live_contents()([](const auto&) {});
  ASSERT_FALSE(visited);
  EXPECT_EQ(visited.error().code, Errc::corrupt);
}

TEST_F(CatalogTest, ALostJournalIsWrittenAnewFromTheDatabase) {
  import("web");
  store_.close();
  std::filesystem::remove(store_.journal());
  store_.open();
  const auto events = test::must(store_.catalog->history(named("web")));
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].detail, "recovered from the database");
}

TEST_F(CatalogTest, AnEmptyDatabaseBesideAJournalWithNamesIsRefused) {
  import("web");
  store_.lose_database();
  EXPECT_THROW(store_.open(), std::runtime_error);
}

TEST_F(CatalogTest, ImagesComeBackEqualAfterTheDatabaseWasLost) {
  const Image web = import("web");
  import("gone");
  test::must(store_.catalog->remove(named("gone")));
  const Inode before = store_.stat("web", "etc/issue");
  store_.lose_database();

  const RebuildReport report = rebuild();
  EXPECT_EQ(report.images, 1u);
  EXPECT_TRUE(report.lost.empty()) << report.lost.front();
  store_.catalog = test::must(Catalog::open(*store_.database, system_io(), store_.journal()));

  const Image after = test::must(store_.catalog->find(named("web")));
  EXPECT_EQ(after.manifest, web.manifest);
  EXPECT_EQ(after.tree, web.tree);
  EXPECT_EQ(after.files, web.files);
  EXPECT_EQ(store_.stat("web", "etc/issue"), before);
  EXPECT_EQ(store_.content(before), std::string(70'000, 'i'));
  EXPECT_GT(import("next").tree, web.tree + 1) << "numbers of removed images stay taken";
}

TEST_F(CatalogTest, NamesOfOneLayerComeBackAfterTheDatabaseWasLost) {
  import("web");
  import("www");
  const auto before = test::must(store_.catalog->list());
  store_.lose_database();
  const RebuildReport report = rebuild();
  EXPECT_EQ(report.images, 2u);
  EXPECT_EQ(report.layers, 1u);
  store_.catalog = test::must(Catalog::open(*store_.database, system_io(), store_.journal()));
  const auto after = test::must(store_.catalog->list());
  ASSERT_EQ(after.size(), 2u);
  for (std::size_t at = 0; at < 2; ++at) {
    EXPECT_EQ(after[at].layer, before[at].layer);
    EXPECT_EQ(after[at].tree, before[at].tree);
  }
}

TEST_F(CatalogTest, ARebuildListsImagesWhoseLayerObjectIsLost) {
  import("web");
  store_.lose_database();
  std::filesystem::remove_all(store_.path() / "segments");
  store_.database = test::open_database(store_.path() / "db");
  store_.contents = test::must(cas::ContentStore::open(*store_.database, system_io(), store_.path() / "segments", {}));
  const RebuildReport report =
      test::must(rebuild_names(*store_.database, *store_.contents, system_io(), store_.journal(), store_.scratch()));
  EXPECT_EQ(report.images, 0u);
  ASSERT_EQ(report.lost.size(), 1u);
  EXPECT_TRUE(report.lost[0].starts_with("web:latest: "));
}

}  // namespace
}  // namespace stellarium::fs
