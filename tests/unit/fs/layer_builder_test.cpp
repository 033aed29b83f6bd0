#include "fs/layer_builder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <random>

#include "support/image_store.h"

namespace stellarium::fs {
namespace {

class LayerBuilderTest : public testing::Test {
 protected:
  LayerBuilder builder(std::size_t memory = 1u << 20) {
    return LayerBuilder{store_.scratch(), {.sort_memory = memory}};
  }

  Result<LayerBuilder::Sealed> seal(LayerBuilder& builder) {
    const auto assembled = builder.assemble();
    if (!assembled) return fail(assembled.error());
    fingerprint_ = *assembled;
    const auto session = store_.contents->begin_session();
    layer_ = test::must(store_.catalog->begin_layer());
    auto sealed = builder.seal(*store_.database, layer_.layer, *session);
    test::must(session->commit());
    return sealed;
  }
  LayerReader reader() const { return LayerReader{*store_.database, layer_.layer}; }
  Inode at(const std::string& path) const { return test::must(reader().resolve(path, false)).inode; }
  Ino ino(const std::string& path) const { return test::must(reader().resolve(path, false)).ino; }

  test::ImageStore store_;
  Catalog::NewLayer layer_;
  cas::Hash fingerprint_;
};

TEST_F(LayerBuilderTest, MakesMissingParentsAndTheRoot) {
  auto build = builder();
  ASSERT_TRUE(build.add("a/b/c", test::make_file("c"), {}));
  ASSERT_TRUE(seal(build));
  EXPECT_EQ(at("").nlink, 3u);
  EXPECT_EQ(at("a").mode, std::uint32_t{S_IFDIR | 0755});
  EXPECT_EQ(at("a/b").nlink, 2u);
  EXPECT_EQ(at("a/b").parent, ino("a"));
  EXPECT_EQ(at("a/b/c"), test::make_file("c"));
}

TEST_F(LayerBuilderTest, ItsFingerprintIsThatOfTheTreeHoweverTheMembersCame) {
  const auto fingerprint_of = [&](const auto& add_members, std::size_t memory = 1u << 20) {
    auto build = builder(memory);
    add_members(build);
    return test::must(build.assemble());
  };
  using Members = std::vector<std::string>;
  const auto files = [](Members paths) {
    return [paths = std::move(paths)](LayerBuilder& build) {
      for (const std::string& path : paths) ASSERT_TRUE(build.add(path, test::make_file(path), {}));
      ASSERT_TRUE(build.add_link("link", paths.front()));
    };
  };
  const cas::Hash one = fingerprint_of(files({"a/b", "c", "d/e/f"}));
  EXPECT_EQ(one, fingerprint_of(files({"a/b", "d/e/f", "c"})));
  EXPECT_EQ(one, fingerprint_of(files({"a/b", "c", "c", "d/e/f"}))) << "the last of two equal members";
  EXPECT_EQ(one, fingerprint_of(files({"a/b", "c", "d/e/f"}), /*memory=*/256)) << "sorted in files";
  EXPECT_NE(one, fingerprint_of(files({"c", "a/b", "d/e/f"}))) << "a link to another file";
  EXPECT_NE(one, fingerprint_of(files({"a/b", "c"})));
  const auto with = [&](const Inode& inode, const Xattrs& xattrs) {
    return fingerprint_of([&](LayerBuilder& build) { ASSERT_TRUE(build.add("f", inode, xattrs)); });
  };
  Inode file = test::make_file("f");
  const cas::Hash plain = with(file, {});
  EXPECT_NE(plain, with(file, {{"user.note", "hello"}}));
  file.mtime.nanoseconds += 1;
  EXPECT_NE(plain, with(file, {}));
}

TEST_F(LayerBuilderTest, NumbersInodesBreadthFirstWithTheEntriesOfADirectoryTogether) {
  auto build = builder();
  for (const char* path : {"x/1", "x/2", "y/1", "y/2/deep"}) ASSERT_TRUE(build.add(path, test::make_file(path), {}));
  ASSERT_TRUE(seal(build));
  EXPECT_EQ(ino(""), kRootIno);
  EXPECT_EQ(std::min(ino("x"), ino("y")), 2u);
  EXPECT_EQ(std::max(ino("x"), ino("y")), 3u);
  EXPECT_EQ(std::max(ino("x/1"), ino("x/2")) - std::min(ino("x/1"), ino("x/2")), 1u);
  EXPECT_EQ(ino("y/2/deep"), 8u);
}

TEST_F(LayerBuilderTest, TheLastMemberOfAPathWins) {
  auto build = builder();
  ASSERT_TRUE(build.add("f", test::make_file("old"), {}));
  ASSERT_TRUE(build.add("f", test::make_symlink("new"), {{"user.a", "1"}}));
  ASSERT_TRUE(seal(build));
  EXPECT_EQ(at("f").inline_bytes, "new");
  EXPECT_TRUE(at("f").has_xattrs);
}

TEST_F(LayerBuilderTest, HardLinksShareOneInodeWhicheverNameComesFirst) {
  auto build = builder();
  ASSERT_TRUE(build.add_link("z/later", "a/deep/file"));
  ASSERT_TRUE(build.add_link("early", "z/later"));
  ASSERT_TRUE(build.add("a/deep/file", test::make_file("shared"), {{"user.a", "1"}}));
  ASSERT_TRUE(build.add_link("a/deep/file", "a/deep/file"));
  ASSERT_TRUE(seal(build));
  EXPECT_EQ(ino("early"), ino("z/later"));
  EXPECT_EQ(ino("early"), ino("a/deep/file"));
  EXPECT_EQ(at("early").nlink, 3u);
  EXPECT_EQ(at("early").content, test::make_file("shared").content);
  EXPECT_EQ(reader().xattr(ino("early"), "user.a")->value(), "1");
}

TEST_F(LayerBuilderTest, TheSameTreeGivesTheSameManifestInWhateverOrderItComes) {
  std::vector<std::string> paths;
  for (int i = 0; i < 300; ++i)
    paths.push_back("d" + std::to_string(i % 17) + "/e" + std::to_string(i % 5) + "/f" + std::to_string(i));
  std::vector<cas::ContentId> manifests;
  for (const std::size_t memory : {1u << 20, 4096u, 8192u}) {
    std::mt19937_64 random{memory};
    std::ranges::shuffle(paths, random);
    auto build = builder(memory);
    for (const std::string& path : paths) ASSERT_TRUE(build.add(path, test::make_file(path), {}));
    ASSERT_TRUE(build.add_link(memory == 4096 ? "x" : "d1/x", "d0/e0/f0"));
    ASSERT_TRUE(build.add_link(memory == 4096 ? "d1/x" : "x", memory == 4096 ? "x" : "d0/e0/f0"));
    const auto sealed = seal(build);
    ASSERT_TRUE(sealed) << to_string(sealed.error());
    manifests.push_back(sealed->manifest);
  }
  EXPECT_EQ(manifests[0], manifests[1]);
  EXPECT_EQ(manifests[0], manifests[2]);
}

TEST_F(LayerBuilderTest, TreesThatCannotBeAreRefusedWithTheMemberNamed) {
  const auto refused = [&](auto&& fill, const std::string& why) {
    auto build = builder();
    fill(build);
    const auto sealed = seal(build);
    ASSERT_FALSE(sealed) << why;
    EXPECT_EQ(sealed.error().code, Errc::invalid_argument);
    EXPECT_EQ(sealed.error().context, why);
  };
  refused([](LayerBuilder& b) { (void)b.add_link("l", "gone"); },
          "l: a hard link to gone, which is not in the archive");
  refused([](LayerBuilder& b) { (void)b.add_link("l", "l"); }, "l: a hard link to l, which is not in the archive");
  refused([](LayerBuilder& b) { (void)b.add("d", test::make_directory(1), {}), (void)b.add_link("l", "d"); },
          "l: a hard link to the directory d");
  refused([](LayerBuilder& b) { (void)b.add_link("a", "b"), (void)b.add_link("b", "a"); },
          "hard links that lead to each other in a circle");
  refused(
      [](LayerBuilder& b) {
        (void)b.add("s", test::make_symlink("/etc"), {}), (void)b.add("s/passwd", test::make_file("x"), {});
      },
      "s: a symlink where other members need a directory");
  refused(
      [](LayerBuilder& b) { (void)b.add("f", test::make_file("x"), {}), (void)b.add("f/g", test::make_file("x"), {}); },
      "f: no directory, but other members need one there");
  refused([](LayerBuilder& b) { (void)b.add("", test::make_file("x"), {}); },
          "/: no directory, but other members need one there");
  refused(
      [](LayerBuilder& b) {
        (void)b.add("f", test::make_file("1"), {}), (void)b.add_link("l", "f"),
            (void)b.add("f", test::make_file("2"), {});
      },
      "l: a hard link to f, which a later member replaces");
}

TEST_F(LayerBuilderTest, ImpossibleAttributesAreRefusedAtOnce) {
  auto build = builder();
  Inode inode = test::make_file("x");
  inode.mtime.nanoseconds = 2'000'000'000;
  EXPECT_FALSE(build.add("f", inode, {}));
  EXPECT_FALSE(build.add("f", test::make_file("x"), {{"", "no name"}}));
  EXPECT_FALSE(build.add("f", test::make_file("x"), {{"user.a", "1"}, {"user.a", "2"}}));
  EXPECT_FALSE(build.add("f", test::make_file("x"), {{"user.big", std::string(65'537, 'v')}}));
}

TEST_F(LayerBuilderTest, ADirectoryOfManyEntriesKeepsThemAll) {
  auto build = builder(64u << 10);
  for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(build.add("big/" + std::to_string(i), test::make_symlink("t"), {}));
  ASSERT_TRUE(seal(build));
  auto listing = reader().list(ino("big"), 0);
  std::size_t count = 0;
  while (const auto next = *listing.next()) ++count;
  EXPECT_EQ(count, 20'000u);
}

}  // namespace
}  // namespace stellarium::fs
