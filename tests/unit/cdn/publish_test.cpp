#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/published_tree.h"

namespace stellarium::cdn {
namespace {

namespace files = std::filesystem;
using test::ImageStore;
using test::must;
using test::random_text;
using test::TarMaker;

class Publishing : public testing::Test {
 protected:
  Result<Puller::Report> pull(ImageStore& store, const cas::Hash& manifest, const std::string& name) {
    const auto source = folder_.open();
    Puller puller{{*store.database, *store.contents, *store.catalog, store.scratch()}, *source, {}};
    return puller.pull(manifest, must(fs::ImageName::parse(name)), "test", {});
  }
  std::map<std::string, files::file_time_type> objects() {
    std::map<std::string, files::file_time_type> found;
    for (const auto& entry : files::recursive_directory_iterator{folder_.path()})
      if (entry.is_regular_file()) found.emplace(entry.path(), entry.last_write_time());
    return found;
  }

  test::PublishedFolder folder_;
};

TEST_F(Publishing, AnEmptyStorePullsTheSameTree) {
  ImageStore from, to;
  must(from.import("a", test::published_tar()));
  const auto report = folder_.publish(from, "a");
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
  must(store.import("a", test::published_tar()));
  folder_.publish(store, "a");
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
  must(first.import("a", test::published_tar()));
  must(
      second.import("other", TarMaker{}.file("x", random_text(3, 2'000'000)).file("y", random_text(105, 585)).whole()));
  must(second.import("b", test::published_tar()));
  const auto one = folder_.publish(first, "a");
  EXPECT_EQ(one.uploads.written, one.uploads.objects);
  const auto before = objects();
  const auto two = folder_.publish(second, "b");
  EXPECT_EQ(two.manifest, one.manifest);
  EXPECT_EQ(two.uploads.written, 0u);
  EXPECT_EQ(objects(), before);
}

TEST_F(Publishing, ObjectsThatWereCutOffAreWrittenAgain) {
  ImageStore from, to;
  must(from.import("a", test::published_tar()));
  const auto report = folder_.publish(from, "a");
  folder_.damage(blob_path(folder_.manifest(report.manifest).bundles[0].id), true);
  EXPECT_FALSE(pull(to, report.manifest, "b"));
  EXPECT_EQ(folder_.publish(from, "a").uploads.written, 1u);
  EXPECT_TRUE(pull(to, report.manifest, "b"));
}

TEST_F(Publishing, ASecondVersionBringsWhatIsNew) {
  ImageStore from, to;
  must(from.import("a", test::published_tar()));
  must(from.import("b", test::published_tar(true)));
  must(pull(to, folder_.publish(from, "a").manifest, "a"));
  const auto pulled = must(pull(to, folder_.publish(from, "b").manifest, "b"));
  EXPECT_EQ(pulled.totals.bytes_new - must(to.contents->recipe(pulled.image.manifest, pulled.image.manifest_size)).size,
            150'000u);
  EXPECT_LT(pulled.content_bytes, 150'000u + cas::kMaxContainer * 2);
  EXPECT_EQ(to.content(to.stat("b", "/usr/share/new")), random_text(5, 150'000));
}

TEST_F(Publishing, ATreeThatIsThereGetsOneMoreName) {
  ImageStore store;
  must(store.import("a", test::published_tar()));
  const auto pulled = must(pull(store, folder_.publish(store, "a").manifest, "b"));
  EXPECT_EQ(pulled.image.layer, must(store.catalog->find({"a"})).layer);
  EXPECT_EQ(pulled.content_bytes, 0u);
  EXPECT_EQ(store.content(store.stat("b", "/usr/share/tiny")), "inline");
}

TEST_F(Publishing, WrongBytesNeverEnterAStore) {
  ImageStore from;
  must(from.import("a", test::published_tar()));
  const auto report = folder_.publish(from, "a");
  const Manifest manifest = folder_.manifest(report.manifest);
  for (const std::string& path :
       {blob_path(manifest.bundles[0].id), blob_path(manifest.metadata.id), manifest_path(report.manifest)}) {
    files::copy(folder_.path() / path, folder_.path() / "kept");
    folder_.damage(path, false);
    ImageStore to;
    const auto pulled = pull(to, report.manifest, "b");
    ASSERT_FALSE(pulled) << path;
    EXPECT_THAT(pulled.error().context, testing::HasSubstr(files::path{path}.stem().string()));
    EXPECT_FALSE(to.catalog->find({"b"}));
    EXPECT_EQ(must(to.contents->check(true, {})).damage.size(), 0u);
    files::rename(folder_.path() / "kept", folder_.path() / path);
    EXPECT_TRUE(pull(to, report.manifest, "b")) << path;
  }
}

}  // namespace
}  // namespace stellarium::cdn
