#include "cdn/oci/image_import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fs/companion_name.h"
#include "support/oci_image.h"
#include "support/tar_maker.h"

namespace stellarium::cdn::oci {
namespace {

using test::OciImage;
using test::TarMaker;

class OciImport : public testing::Test {
 protected:
  Result<ImportedImage> import(const OciImage& image, Keep keep = Keep::exact, bool with_manifest = true) {
    return import_stream(image.stream(with_manifest),
                         with_manifest ? std::optional{test::sha256(image.manifest)} : std::nullopt, keep);
  }
  Result<ImportedImage> import_stream(const std::string& stream, std::optional<Digest> manifest,
                                      Keep keep = Keep::exact) {
    test::TextInput input{stream, 1000};
    return import_image(*store_.database, *store_.contents, *store_.catalog, store_.scratch(), input,
                        {.name = test::must(fs::ImageName::parse("image:1")),
                         .source = "somewhere",
                         .manifest = std::move(manifest),
                         .keep = keep},
                        store_.notes);
  }
  /// Paths of all names, directories with a slash behind them.
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    list(store_.reader("image:1"), fs::kRootIno, "", found);
    std::ranges::sort(found);
    return found;
  }
  std::string text(const std::string& path) const { return store_.content(store_.stat("image:1", path)); }
  std::string error_of(const OciImage& image) {
    const auto imported = import(image);
    EXPECT_FALSE(imported);
    EXPECT_TRUE(test::must(store_.catalog->list()).empty());
    return imported ? "" : imported.error().context;
  }

  test::ImageStore store_;

 private:
  static void list(const fs::LayerReader& reader, fs::Ino dir, const std::string& path, std::vector<std::string>& out) {
    auto listing = reader.list(dir, 0);
    while (const auto entry = test::must(listing.next())) {
      const bool folder = entry->type == DT_DIR;
      out.push_back(path + entry->name + (folder ? "/" : ""));
      if (folder) list(reader, entry->ino, path + entry->name + "/", out);
    }
  }
};

const std::string kLong(3000, 'x');

TEST_F(OciImport, LaterLayersGoOverEarlierOnes) {
  const auto imported = import(OciImage{{TarMaker{}.directory("d", 0700).file("d/a", "1").file("d/b", "2").whole(),
                                         TarMaker{}.directory("d", 0755).file("d/b", kLong).file("e", "3").whole()},
                                        OciImage::Compressed::gzip});
  ASSERT_TRUE(imported) << imported.error().context;
  EXPECT_THAT(names(), testing::ElementsAre("d/", "d/a", "d/b", "e"));
  EXPECT_EQ(text("d/b"), kLong);
  EXPECT_EQ(store_.stat("image:1", "d").mode & 07777, 0755u);
}

TEST_F(OciImport, WhiteoutsHideWhatEarlierLayersHave) {
  ASSERT_TRUE(import(OciImage{
      {TarMaker{}.file("a", "1").file("d/x", "1").file("d/sub/y", "1").file("keep", "1").file("again", "1").whole(),
       TarMaker{}
           .file(".wh.a", "")
           .file("d/sub/new", "2")
           .file(".wh.d", "")   // what this layer has added below stays
           .file("again", "2")  // before its whiteout
           .file(".wh.again", "")
           .file(".wh.nothing", "")  // is passed over
           .file("none/.wh.nothing", "")
           .file(".wh..wh.plnk", "")
           .whole()}}));
  EXPECT_THAT(names(), testing::ElementsAre("again", "d/", "d/sub/", "d/sub/new", "keep"));
  EXPECT_EQ(text("again"), "2");
}

TEST_F(OciImport, AnOpaqueDirectoryHidesWhatWasInIt) {
  for (const bool first : {false, true}) {
    TarMaker layer;
    layer.directory("d");
    if (first) layer.file("d/.wh..wh..opq", "");
    layer.file("d/new", "2");
    if (!first) layer.file("d/.wh..wh..opq", "");
    ASSERT_TRUE(
        import(OciImage{{TarMaker{}.file("d/old", "1").file("d/s/t", "1").file("e", "1").whole(), layer.whole()}}));
    EXPECT_THAT(names(), testing::ElementsAre("d/", "d/new", "e"));
  }
}

TEST_F(OciImport, OtherThingsTakeThePlaceOfWhatIsThere) {
  ASSERT_TRUE(import(OciImage{{TarMaker{}.file("a/in", "1").file("b", "1").symlink("c", "a").whole(),
                               TarMaker{}.file("a", "2").directory("b").file("b/in", "2").directory("c").whole()}}));
  EXPECT_THAT(names(), testing::ElementsAre("a", "b/", "b/in", "c/"));
}

TEST_F(OciImport, HardLinksReachIntoEarlierLayers) {
  ASSERT_TRUE(import(OciImage{{TarMaker{}.file("a", kLong).link("b", "a").whole(),
                               TarMaker{}.link("c", "a").file("a", "new").file(".wh.b", "").whole()}}));
  EXPECT_THAT(names(), testing::ElementsAre("a", "c"));
  EXPECT_EQ(text("a"), "new");
  EXPECT_EQ(text("c"), kLong);
  EXPECT_EQ(store_.stat("image:1", "c").nlink, 1u);
  ASSERT_TRUE(
      import(OciImage{{TarMaker{}.file("a", kLong).whole(), TarMaker{}.link("b", "a").link("c", "b").whole()}}));
  EXPECT_EQ(store_.stat("image:1", "a").nlink, 3u);
}

TEST_F(OciImport, ParentsThatAreSymlinksAreFollowedInside) {
  ASSERT_TRUE(
      import(OciImage{{TarMaker{}.directory("usr/lib").symlink("lib", "usr/lib").symlink("up", "../../../usr").whole(),
                       TarMaker{}.file("lib/a", "1").file("up/b", "2").link("lib/c", "lib/a").whole()}}));
  EXPECT_THAT(names(), testing::ElementsAre("lib", "up", "usr/", "usr/b", "usr/lib/", "usr/lib/a", "usr/lib/c"));
}

TEST_F(OciImport, RefusesWhatNoUnpackingCouldDo) {
  const std::string none = TarMaker{}.file("f", "1").whole();
  for (const auto& [layer, why] : std::vector<std::pair<std::string, std::string>>{
           {TarMaker{}.file("../f", "").whole(), ".."},
           {TarMaker{}.file("f/x", "").whole(), "no directory"},
           {TarMaker{}.link("l", "nowhere").whole(), "not there"},
           {TarMaker{}.directory("d").link("l", "d").whole(), "directory"},
           {TarMaker{}.file(".wh.", "").whole(), "whiteout"},
           {TarMaker{}.file(".wh...", "").whole(), "whiteout"},
           {TarMaker{}.symlink("a", "b").symlink("b", "a").file("a/x", "").whole(), "circle"},
           {TarMaker{}
                .pax({{"SCHILY.xattr.stellarium.content", std::string(64, 'a') + " 100 100 0"}})
                .file("x", "")
                .whole(),
            ""},
           {TarMaker{}.file("x", kLong).cut(), "cut off"},
           {TarMaker{}.pax({{"SCHILY.xattr.user." + std::string(300, 'n'), "v"}}).file("x", "").whole(), ""},
           {"", ""}}) {
    EXPECT_THAT(error_of(OciImage{{none, layer}}),
                testing::AllOf(testing::HasSubstr("layer 2 of 2"), testing::HasSubstr(why)));
  }
}

TEST_F(OciImport, RefusesWhatIsNotAsItsDigestsSay) {
  const std::vector<std::string> tars{TarMaker{}.file("f", "1").whole(), TarMaker{}.file("g", kLong).whole()};
  const OciImage right{tars, OciImage::Compressed::gzip};
  OciImage wrong = right;
  wrong.config += " ";
  EXPECT_THAT(error_of(wrong), testing::HasSubstr("configuration"));
  wrong = right;
  wrong.blobs[1] = OciImage::gzip(tars[1] + std::string(512, '\0'));
  EXPECT_THAT(error_of(wrong), testing::HasSubstr("layer 2"));
  wrong = right;
  wrong.blobs[1].back() = static_cast<char>(wrong.blobs[1].back() ^ 1);
  EXPECT_THAT(error_of(wrong), testing::HasSubstr("layer 2"));
  wrong = right;
  wrong.blobs.pop_back();
  EXPECT_THAT(error_of(wrong), testing::HasSubstr("out of place"));
  wrong = right;
  wrong.blobs.push_back(wrong.blobs[0]);
  EXPECT_THAT(error_of(wrong), testing::HasSubstr("out of place"));
  EXPECT_FALSE(import_stream(right.stream(), test::sha256("another")));
  EXPECT_TRUE(import(right));
}

TEST_F(OciImport, RefusesATarThatIsNotTheConfigurations) {
  const OciImage other{{TarMaker{}.file("g", "1").whole()}};
  OciImage image{{TarMaker{}.file("f", "1").whole()}};
  image.blobs = other.blobs;  // an archive of Docker's, whose layers nobody else describes
  const auto imported = import(image, Keep::exact, /*with_manifest=*/false);
  ASSERT_FALSE(imported);
  EXPECT_THAT(imported.error().context, testing::HasSubstr("its tar is"));
}

TEST_F(OciImport, EveryCutOfTheStreamIsRefused) {
  const OciImage image{{TarMaker{}.file("f", kLong).whole()}, OciImage::Compressed::gzip};
  const std::string stream = image.stream();
  for (std::size_t size = 0; size + 1024 < stream.size(); size += 97)
    EXPECT_FALSE(import_stream(stream.substr(0, size), test::sha256(image.manifest))) << size;
}

TEST_F(OciImport, TheCompanionGoesWithTheImage) {
  const auto imported = import(OciImage{{TarMaker{}.file("f", kLong).whole()}});
  ASSERT_TRUE(imported);
  const auto image = test::must(store_.catalog->find(test::must(fs::ImageName::parse("image:1"))));
  EXPECT_EQ(image.source, "somewhere@" + imported->manifest.text());
  const auto companion = test::must(fs::companion_name(image.name, image.source));
  ASSERT_TRUE(companion);
  EXPECT_TRUE(fs::is_companion(*companion));
  EXPECT_FALSE(fs::is_companion(image.name));
  EXPECT_TRUE(store_.catalog->find(*companion));
}

TEST_F(OciImport, TheSourceOfACompanionedImageFitsTheJournal) {
  const std::string source = fs::source_with_digest(std::string(5000, 'p'), std::string(64, 'a'));
  EXPECT_LE(source.size(), 1024u);
  EXPECT_TRUE(test::must(fs::companion_name(test::must(fs::ImageName::parse("x")), source)));
  EXPECT_FALSE(test::must(fs::companion_name(test::must(fs::ImageName::parse("x")), "plain source")));
  EXPECT_FALSE(fs::companion_name(test::must(fs::ImageName::parse("x:" + std::string(120, 't'))), source));
}

}  // namespace
}  // namespace stellarium::cdn::oci
