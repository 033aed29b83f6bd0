#include "cdn/oci/image_export.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cdn/oci/image_import.h"
#include "cdn/oci/image_source.h"
#include "fs/companion_name.h"
#include "support/golden.h"
#include "support/oci_image.h"
#include "support/tar_maker.h"
#include "support/temp_dir.h"

namespace stellarium::cdn::oci {
namespace {

using test::OciImage;
using test::TarMaker;

/// Tars with all that a recipe has to bring back: long names, sizes around a block, data that come twice, links, what
/// is behind the end, and what only libarchive reads.
std::vector<std::string> odd_tars() {
  const std::string body(5000, 'b');
  return {TarMaker{}
              .file("a", body)
              .file("b", body)
              .file("c", std::string(64, 'c'))
              .file("d", std::string(65, 'd'))
              .file("e", std::string(512, 'e'))
              .directory("dir")
              .symlink("s", "a")
              .link("l", "a")
              .whole(),
          TarMaker{}
                  .pax({{"path", std::string(200, 'n')}, {"mtime", "1.5"}})
                  .file("x", body)
                  .pax({{"comment", "y"}})
                  .file("z", body)
                  .whole() +
              std::string(10240, '\0'),
          TarMaker{}
              .header({.name = "base256", .size_field = std::string("\x80\0\0\0\0\0\0\0\0\0\x13\x88", 12)})
              .data(body)
              .file("after", body)
              .whole()};
}

class OciExport : public testing::Test {
 protected:
  void import(const OciImage& image, Keep keep) {
    test::TextInput input{image.stream()};
    test::must(import_image(*store_.database, *store_.contents, *store_.catalog, store_.scratch(), input,
                            {.name = test::must(fs::ImageName::parse("image:1")),
                             .source = "somewhere",
                             .manifest = test::sha256(image.manifest),
                             .keep = keep},
                            store_.notes));
  }
  KeptImage kept() const {
    const auto image = test::must(store_.catalog->find(test::must(fs::ImageName::parse("image:1"))));
    const auto companion = test::must(fs::companion_name(image.name, image.source));
    return KeptImage{*store_.contents, store_.reader(companion->text())};
  }
  /// The archive, found again by what finds images of others.
  std::string exported(const KeptImage& kept) {
    test::TextOutput out;
    test::must(export_image({.ref = "1",
                             .scratch = store_.scratch(),
                             .kept = &kept,
                             .tar = {},
                             .progress = [](std::uint64_t) { return true; }},
                            out));
    return out.text;
  }
  std::string read_back(const std::string& archive) {
    const auto file = folder_ / "archive.tar";
    test::must(write(file, archive));
    const auto files = test::must(ImageFiles::open(UniqueFd{::open(file.c_str(), O_RDONLY | O_CLOEXEC)}));
    if (!files) throw std::runtime_error("no image");
    const auto image = test::must(ImageSource::find(*files, {.ref = "1", .platform = {}}));
    test::TextOutput out;
    test::must(image.send(out));
    return out.text;
  }
  static Result<void> write(const std::filesystem::path& file, const std::string& text) {
    const UniqueFd out{::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (::write(out.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return fail_errno("writing");
    return {};
  }

  test::ImageStore store_;
  test::TempDir folder_;
};

TEST_F(OciExport, WhatWasKeptExactlyComesBackByteForByte) {
  for (const auto compressed : {OciImage::Compressed::no, OciImage::Compressed::gzip}) {
    const OciImage image{odd_tars(), compressed};
    import(image, Keep::exact);
    EXPECT_TRUE(read_back(exported(kept())) == image.stream());
  }
}

TEST_F(OciExport, RecipesGiveTheSameTars) {
  const OciImage image{odd_tars(), OciImage::Compressed::gzip};
  import(image, Keep::equivalent);
  const auto reader = kept();
  for (std::size_t i = 0; i < image.blobs.size(); ++i) {
    auto layer = test::must(reader.layer(i));
    EXPECT_FALSE(layer.is_blob);
    DigestInput tar{*layer.bytes};
    test::must(tar.drain());
    EXPECT_EQ(tar.digest(), test::sha256(odd_tars()[i])) << i;
  }
  EXPECT_TRUE(read_back(exported(reader)).find("\"diff_ids\"") != std::string::npos);
}

TEST_F(OciExport, ADamagedRecipeIsRefused) {
  LayerRecipe recipe{.bodies = {{.id = {}, .size = 100}},
                     .steps = {{.literals = 512, .body = 0}, {.literals = 5, .body = {}}}};
  const std::string text = recipe.encode();
  EXPECT_EQ(test::must(LayerRecipe::decode(text)), recipe);
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_FALSE(LayerRecipe::decode(text.substr(0, size))) << size;
  EXPECT_FALSE(LayerRecipe::decode(text + "x"));
  recipe.steps[0].body = 1;
  EXPECT_FALSE(LayerRecipe::decode(recipe.encode()));
}

TEST_F(OciExport, TheFirstVersionsAreReadForEver) {
  const LayerRecipe recipe{.bodies = {{.id = cas::hash_of(as_bytes(std::string_view{"body"})), .size = 4}},
                           .steps = {{.literals = 512, .body = 0}, {.literals = 1532, .body = {}}}};
  EXPECT_EQ(test::must(LayerRecipe::decode(test::golden_or_write("layer-recipe-v1.bin", recipe.encode()))), recipe);

  const OciImage image{{TarMaker{}.file("f", std::string(100, 'x')).whole()}};
  const std::string stream = test::golden_or_write("oci-stream-v1.tar", image.stream());
  EXPECT_EQ(stream, image.stream());
  test::TextInput input{stream};
  EXPECT_TRUE(import_image(*store_.database, *store_.contents, *store_.catalog, store_.scratch(), input,
                           {.name = test::must(fs::ImageName::parse("image:1")),
                            .source = "somewhere",
                            .manifest = test::sha256(image.manifest),
                            .keep = Keep::exact},
                           store_.notes));
}

TEST_F(OciExport, AnImageWithoutLayersOfItsOwnHasOne) {
  const std::string tar = TarMaker{}.file("f", "1").whole();
  test::TextOutput out;
  test::must(export_image({.ref = "1",
                           .scratch = store_.scratch(),
                           .kept = nullptr,
                           .tar = [&](fs::ByteOutput& to) { return to.write(as_bytes(tar)); },
                           .progress = [](std::uint64_t) { return true; }},
                          out));
  EXPECT_TRUE(read_back(out.text).find(test::sha256(tar).text()) != std::string::npos);
}

TEST_F(OciExport, CanBeStopped) {
  const OciImage image{odd_tars()};
  import(image, Keep::exact);
  const auto reader = kept();
  test::TextOutput out;
  const auto done = export_image({.ref = "1",
                                  .scratch = store_.scratch(),
                                  .kept = &reader,
                                  .tar = {},
                                  .progress = [](std::uint64_t size) { return size < 3000; }},
                                 out);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::cancelled);
}

}  // namespace
}  // namespace stellarium::cdn::oci
