#include "fs/fuse/store_view.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "support/fuse_view.h"
#include "support/temp_dir.h"

namespace stellarium::fs::fuse {
namespace {

using abi::Opcode;
using test::bytes_of;
using test::entries_of;

class StoreViewTest : public testing::Test {
 protected:
  StoreViewTest() {
    image_.begin();
    image_.add_file(kRootIno, "hosts", "localhost\n");
    image_.publish("debian", "11", 5);
    image_.publish("debian", "12", 6);
    image_.publish("alpine", "latest", 7);
  }
  std::uint64_t walk(const std::vector<std::string>& names) {
    std::uint64_t node = abi::kRootNode;
    for (const std::string& name : names) node = view_.lookup(node, name).nodeid;
    return node;
  }
  std::vector<std::string> list(std::uint64_t node) {
    std::vector<std::string> names;
    for (const auto& entry : entries_of(view_.read(Opcode::readdirplus, node, 0, 65'536).payload, true))
      names.push_back(entry.name);
    std::ranges::sort(names);
    return names;
  }

  test::TempDir dir_;
  test::FuseImage image_{dir_.path()};
  test::FuseView view_{image_, /*whole_store=*/true};
};

TEST_F(StoreViewTest, ShowsImagesByNameAndTag) {
  EXPECT_EQ(list(abi::kRootNode), (std::vector<std::string>{".", "..", "images"}));
  EXPECT_EQ(list(walk({"images"})), (std::vector<std::string>{".", "..", "alpine", "debian"}));
  EXPECT_EQ(list(walk({"images", "debian"})), (std::vector<std::string>{".", "..", "11", "12"}));
  EXPECT_EQ(view_.read(Opcode::read, walk({"images", "debian", "12", "hosts"}), 0, 100).payload, "localhost\n");
}

TEST_F(StoreViewTest, NoTwoFilesLookLikeOne) {
  const auto one = view_.lookup(walk({"images", "debian", "11"}), "hosts");
  const auto other = view_.lookup(walk({"images", "debian", "12"}), "hosts");
  EXPECT_NE(one.attr.ino, other.attr.ino);
  const auto listed = entries_of(view_.read(Opcode::readdir, walk({"images", "debian", "12"}), 0, 4096).payload, false);
  EXPECT_EQ(listed.back().ino, other.attr.ino);
}

TEST_F(StoreViewTest, NamesAreNeverRememberedByTheKernel) {
  const std::uint64_t images = walk({"images"});
  EXPECT_EQ(view_.ask(Opcode::lookup, images, test::make_name("later")).error, ENOENT);
  image_.publish("later", "latest", 8);
  const auto later = view_.lookup(images, "later");
  EXPECT_NE(later.nodeid, 0u);
  EXPECT_EQ(later.entry_valid, 0u);
  EXPECT_EQ(view_.lookup(later.nodeid, "latest").entry_valid, 0u);
}

TEST_F(StoreViewTest, ATagThatMovesLeadsToTheNewTreeAndTheOldOneStaysReadable) {
  const std::uint64_t before = walk({"images", "debian", "12", "hosts"});
  image_.publish("debian", "12", 9);
  const std::uint64_t after = walk({"images", "debian", "12", "hosts"});
  EXPECT_NE(before, after);
  EXPECT_EQ(view_.read(Opcode::read, before, 0, 100).payload, "localhost\n");
  EXPECT_EQ(view_.read(Opcode::read, after, 0, 100).payload, "localhost\n");
}

TEST_F(StoreViewTest, ARemovedNameIsGone) {
  const std::uint64_t alpine = walk({"images", "alpine"});
  ASSERT_TRUE(image_.catalog.remove({"alpine", "latest"}));
  EXPECT_EQ(view_.ask(Opcode::lookup, walk({"images"}), test::make_name("alpine")).error, ENOENT);
  EXPECT_EQ(view_.ask(Opcode::getattr, alpine, bytes_of(abi::GetattrIn{})).error, ENOENT);
}

TEST_F(StoreViewTest, OnlyDirectoriesOfImagesAreCached) {
  const auto open = [this](std::uint64_t node) {
    return view_.ask(Opcode::opendir, node, bytes_of(abi::OpenIn{})).as<abi::OpenOut>().open_flags;
  };
  EXPECT_EQ(open(walk({"images"})), 0u);
  EXPECT_EQ(open(walk({"images", "debian", "12"})), abi::open_flag::kCacheDir | abi::open_flag::kKeepCache);
}

TEST_F(StoreViewTest, ListingsGoOnBehindEveryName) {
  const std::uint64_t images = walk({"images"});
  const auto all = entries_of(view_.read(Opcode::readdir, images, 0, 4096).payload, false);
  ASSERT_EQ(all.size(), 4u);
  for (std::size_t i = 0; i + 1 < all.size(); ++i) {
    const auto rest = entries_of(view_.read(Opcode::readdir, images, all[i].offset, 4096).payload, false);
    ASSERT_EQ(rest.size(), all.size() - i - 1);
    EXPECT_EQ(rest[0].name, all[i + 1].name);
  }
}

TEST_F(StoreViewTest, NodesOfTreesThatDoNotExistAreStale) {
  EXPECT_EQ(view_.ask(Opcode::getattr, NodeId::of(77, 1).value(), bytes_of(abi::GetattrIn{})).error, ESTALE);
  EXPECT_EQ(view_.ask(Opcode::getattr, NodeId::of(0, 55).value(), bytes_of(abi::GetattrIn{})).error, ENOENT);
  EXPECT_EQ(view_.ask(Opcode::open, abi::kRootNode, bytes_of(abi::OpenIn{})).error, EISDIR);
}

}  // namespace
}  // namespace stellarium::fs::fuse
