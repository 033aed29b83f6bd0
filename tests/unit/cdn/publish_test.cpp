#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cdn/folder_objects.h"
#include "cdn/publisher.h"
#include "cdn/puller.h"
#include "support/image_store.h"
#include "support/random_bytes.h"
#include "support/tar_maker.h"
#include "support/temp_dir.h"

namespace stellarium::cdn {
namespace {

namespace files = std::filesystem;
using test::ImageStore;
using test::must;
using test::TarMaker;

std::string random_text(std::uint64_t seed, std::size_t size) {
  return std::string{as_text(test::random_bytes(seed, size))};
}

/// A tree with everything that is published in its own way: packs, blobs, chunk lists, runs of zeros, equal contents.
std::string tree_tar(bool with_addition = false) {
  TarMaker tar;
  tar.directory("usr").directory("usr/bin").directory("usr/share");
  tar.file("usr/bin/tool",
           "\x7f"
           "ELF" +
               random_text(1, 300'000),
           0755);
  tar.file("usr/bin/small", "#!/bin/sh\n" + random_text(2, 500), 0755);
  for (int i = 0; i < 200; ++i)
    tar.file("usr/share/doc" + std::to_string(i),
             "document " + random_text(100 + static_cast<std::uint64_t>(i), 400 + 37 * static_cast<std::size_t>(i)));
  tar.file("usr/share/large", random_text(3, 2'000'000));
  tar.file("usr/share/again", random_text(3, 2'000'000));
  tar.file("usr/share/zeros", std::string(1'000'000, '\0') + random_text(4, 100'000));
  tar.file("usr/share/tiny", "inline").file("usr/share/empty", "");
  tar.link("usr/share/linked", "usr/share/large").symlink("lib", "usr/lib");
  if (with_addition) tar.file("usr/share/new", random_text(5, 150'000));
  return tar.whole();
}

class Publishing : public testing::Test {
 protected:
  std::unique_ptr<FolderObjects> folder() {
    files::create_directories(dir_ / "www");
    return must(FolderObjects::open(dir_ / "www"));
  }

  Publisher::Report publish(ImageStore& store, const std::string& name) {
    const auto target = folder();
    Publisher publisher{*store.contents, *store.contents, *target, {.level = 3}};
    const fs::Image image = must(store.catalog->find(must(fs::ImageName::parse(name))));
    return must(publisher.publish(image, fs::LayerReader{*store.database, image.layer}, {}));
  }
  Result<Puller::Report> pull(ImageStore& store, const cas::Hash& manifest, const std::string& name) {
    const auto source = folder();
    Puller puller{{*store.database, *store.contents, *store.catalog, store.scratch()}, *source, {}};
    return puller.pull(manifest, must(fs::ImageName::parse(name)), "test", {});
  }
  std::map<std::string, files::file_time_type> objects() {
    std::map<std::string, files::file_time_type> found;
    for (const auto& entry : files::recursive_directory_iterator{dir_ / "www"})
      if (entry.is_regular_file()) found.emplace(entry.path(), entry.last_write_time());
    return found;
  }
  /// Changes one byte of an object, or cuts it.
  void damage(const std::string& path, bool cut) {
    std::fstream file{dir_ / "www" / path, std::ios::in | std::ios::out | std::ios::binary};
    ASSERT_TRUE(file) << path;
    if (cut) {
      files::resize_file(dir_ / "www" / path, files::file_size(dir_ / "www" / path) / 2);
      return;
    }
    file.seekp(static_cast<std::streamoff>(files::file_size(dir_ / "www" / path) / 2));
    file.put('!').put('?').put('#');
  }
  Manifest manifest_of(const cas::Hash& id) {
    const auto text = must(folder()->read(manifest_path(id), kMaxManifest));
    return must(parse_manifest(text.value()));
  }

  test::TempDir dir_;
};

TEST_F(Publishing, AnEmptyStorePullsTheSameTree) {
  ImageStore from, to;
  must(from.import("a", tree_tar()));
  const auto report = publish(from, "a");
  const auto pulled = must(pull(to, report.manifest, "b"));
  EXPECT_EQ(pulled.image.manifest, must(from.catalog->find({"a"})).manifest);
  EXPECT_EQ(pulled.image.bytes, must(from.catalog->find({"a"})).bytes);
  for (const char* path :
       {"/usr/bin/tool", "/usr/bin/small", "/usr/share/large", "/usr/share/linked", "/usr/share/again",
        "/usr/share/zeros", "/usr/share/tiny", "/usr/share/doc0", "/usr/share/doc199"})
    EXPECT_EQ(to.content(to.stat("b", path)), from.content(from.stat("a", path))) << path;
  EXPECT_EQ(must(to.contents->check(true, {})).damage.size(), 0u);
  to.close();
  to.open();
  EXPECT_EQ(to.content(to.stat("b", "/usr/share/large")), random_text(3, 2'000'000));
}

TEST_F(Publishing, EveryObjectIsNamedByItsBytes) {
  ImageStore store;
  must(store.import("a", tree_tar()));
  publish(store, "a");
  std::size_t blobs = 0;
  for (const auto& [path, written] : objects()) {
    std::ifstream file{path, std::ios::binary};
    const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
    EXPECT_EQ(files::path{path}.stem(), cas::hash_of(as_bytes(bytes)).hex()) << path;
    ++blobs;
  }
  EXPECT_GT(blobs, 40u);
}

TEST_F(Publishing, TheSameImageGivesTheSameObjectsEverywhere) {
  ImageStore first, second;
  must(first.import("a", tree_tar()));
  must(
      second.import("other", TarMaker{}.file("x", random_text(3, 2'000'000)).file("y", random_text(105, 585)).whole()));
  must(second.import("b", tree_tar()));
  const auto one = publish(first, "a");
  EXPECT_EQ(one.uploads.written, one.uploads.objects);
  const auto before = objects();
  const auto two = publish(second, "b");
  EXPECT_EQ(two.manifest, one.manifest);
  EXPECT_EQ(two.uploads.written, 0u);
  EXPECT_EQ(objects(), before);
}

TEST_F(Publishing, ObjectsThatWereCutOffAreWrittenAgain) {
  ImageStore from, to;
  must(from.import("a", tree_tar()));
  const auto report = publish(from, "a");
  damage(blob_path(manifest_of(report.manifest).bundles[0].id), true);
  EXPECT_FALSE(pull(to, report.manifest, "b"));
  EXPECT_EQ(publish(from, "a").uploads.written, 1u);
  EXPECT_TRUE(pull(to, report.manifest, "b"));
}

TEST_F(Publishing, ASecondVersionBringsWhatIsNew) {
  ImageStore from, to;
  must(from.import("a", tree_tar()));
  must(from.import("b", tree_tar(true)));
  must(pull(to, publish(from, "a").manifest, "a"));
  const auto pulled = must(pull(to, publish(from, "b").manifest, "b"));
  EXPECT_EQ(pulled.totals.bytes_new - must(to.contents->recipe(pulled.image.manifest, pulled.image.manifest_size)).size,
            150'000u);
  EXPECT_LT(pulled.content_bytes, 150'000u + cas::kMaxContainer * 2);
  EXPECT_EQ(to.content(to.stat("b", "/usr/share/new")), random_text(5, 150'000));
}

TEST_F(Publishing, ATreeThatIsThereGetsOneMoreName) {
  ImageStore store;
  must(store.import("a", tree_tar()));
  const auto pulled = must(pull(store, publish(store, "a").manifest, "b"));
  EXPECT_EQ(pulled.image.layer, must(store.catalog->find({"a"})).layer);
  EXPECT_EQ(pulled.content_bytes, 0u);
  EXPECT_EQ(store.content(store.stat("b", "/usr/share/tiny")), "inline");
}

TEST_F(Publishing, WrongBytesNeverEnterAStore) {
  ImageStore from;
  must(from.import("a", tree_tar()));
  const auto report = publish(from, "a");
  const Manifest manifest = manifest_of(report.manifest);
  for (const std::string& path :
       {blob_path(manifest.bundles[0].id), blob_path(manifest.metadata.id), manifest_path(report.manifest)}) {
    files::copy(dir_ / "www" / path, dir_ / "kept");
    damage(path, false);
    ImageStore to;
    const auto pulled = pull(to, report.manifest, "b");
    ASSERT_FALSE(pulled) << path;
    EXPECT_THAT(pulled.error().context, testing::HasSubstr(files::path{path}.stem().string()));
    EXPECT_FALSE(to.catalog->find({"b"}));
    EXPECT_EQ(must(to.contents->check(true, {})).damage.size(), 0u);
    files::rename(dir_ / "kept", dir_ / "www" / path);
    EXPECT_TRUE(pull(to, report.manifest, "b")) << path;
  }
}

}  // namespace
}  // namespace stellarium::cdn
