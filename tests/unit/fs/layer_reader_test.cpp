#include "fs/layer_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "support/fs_layers.h"
#include "support/temp_dir.h"

namespace stellarium::fs {
namespace {

constexpr LayerId kLayer = 5;

class LayerReaderTest : public testing::Test {
 protected:
  LayerReaderTest() {
    test::put_inode(*database_, kLayer, 0, "", kRootIno, test::make_directory(kRootIno));
    test::put_inode(*database_, kLayer, kRootIno, "usr", 2, test::make_directory(kRootIno));
    test::put_inode(*database_, kLayer, kRootIno, "bin", 3, test::make_symlink("usr/bin"));
    test::put_inode(*database_, kLayer, 2, "bin", 4, test::make_directory(2));
    test::put_inode(*database_, kLayer, 4, "sh", 5, test::make_symlink("/bin/dash"));
    test::put_inode(*database_, kLayer, 4, "dash", 6, test::make_file("#!"));
    test::put_inode(*database_, kLayer, kRootIno, "loop", 7, test::make_symlink("loop"));
    test::put_inode(*database_, kLayer, kRootIno, "up", 8, test::make_symlink("../../usr"));
    // Another layer, right behind in every family.
    test::put_inode(*database_, kLayer + 1, 0, "", kRootIno, test::make_directory(kRootIno));
    test::put_inode(*database_, kLayer + 1, kRootIno, "other", 2, test::make_file("other"));
  }

  test::TempDir dir_;
  std::unique_ptr<cas::Database> database_ = test::open_database(dir_ / "db");
  LayerReader reader_{*database_, kLayer};
};

TEST_F(LayerReaderTest, FindsNamesAndTheirInodes) {
  const auto entry = reader_.lookup(4, "dash");
  ASSERT_TRUE(entry && *entry);
  EXPECT_EQ((*entry)->ino, 6u);
  EXPECT_EQ((*entry)->type, DT_REG);
  EXPECT_EQ(reader_.inode(6)->value(), test::make_file("#!"));
  EXPECT_FALSE(reader_.lookup(4, "bash")->has_value());
  EXPECT_FALSE(reader_.lookup(kRootIno, "other")->has_value());
  EXPECT_FALSE(reader_.inode(99)->has_value());
}

TEST_F(LayerReaderTest, ListsADirectoryInCookieOrderAndResumesBehindAnyEntry) {
  std::vector<Dirent> all;
  auto listing = reader_.list(kRootIno, 0);
  while (auto entry = *listing.next()) all.push_back(*entry);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_TRUE(std::ranges::is_sorted(all, {}, &Dirent::cookie));
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto rest = reader_.list(kRootIno, all[i].cookie);
    const auto next = *rest.next();
    EXPECT_EQ(next.has_value(), i + 1 < all.size());
    if (next) {
      EXPECT_EQ(next->name, all[i + 1].name);
    }
  }
}

TEST_F(LayerReaderTest, FindsAnEntryThatSharesItsHash) {
  // Rank 1 without rank 0 cannot be made by an import; it stands for a second name of one hash.
  test::put_inode(*database_, kLayer, kRootIno, "second", 20, test::make_file("x"), /*rank=*/1);
  const auto entry = reader_.lookup(kRootIno, "second");
  ASSERT_TRUE(entry && *entry);
  EXPECT_EQ((*entry)->ino, 20u);
}

TEST_F(LayerReaderTest, ScansInodesInOrderAndInAnyOrder) {
  auto scan = reader_.scan_inodes();
  Ino last = 0;
  std::size_t count = 0;
  while (auto next = *scan.next()) {
    EXPECT_GT(next->first, last);
    last = next->first;
    ++count;
  }
  EXPECT_EQ(count, 8u);
  for (const Ino ino : {2u, 5u, 8u, 1u, 3u}) EXPECT_TRUE(scan.at(ino)->has_value()) << ino;
  EXPECT_FALSE(scan.at(9)->has_value());
}

TEST_F(LayerReaderTest, ResolvesPathsThroughSymlinksInsideTheTree) {
  EXPECT_EQ(reader_.resolve("/bin/sh", true)->ino, 6u);
  EXPECT_EQ(reader_.resolve("bin/sh", false)->ino, 5u);
  EXPECT_EQ(reader_.resolve("bin", false)->ino, 3u);
  EXPECT_EQ(reader_.resolve("", true)->ino, kRootIno);
  EXPECT_EQ(reader_.resolve("/../../usr/./bin//..", true)->ino, 2u);
  EXPECT_EQ(reader_.resolve("up/bin", true)->ino, 4u);
}

TEST_F(LayerReaderTest, SaysWhyAPathLeadsNowhere) {
  EXPECT_EQ(reader_.resolve("usr/sbin", true).error().code, Errc::not_found);
  EXPECT_EQ(errno_of(reader_.resolve("loop", true).error()), ELOOP);
  EXPECT_EQ(errno_of(reader_.resolve("usr/bin/dash/x", true).error()), ENOTDIR);
  EXPECT_EQ(to_string(reader_.resolve("/usr/sbin", true).error()), "/usr/sbin: there is no sbin");
}

TEST_F(LayerReaderTest, ReadsXattrsOfOneInodeOnly) {
  cas::Database::Batch batch;
  batch.put(kXattrFamily, xattr_key(kLayer, 6, "user.b"), "2");
  batch.put(kXattrFamily, xattr_key(kLayer, 6, "user.a"), "1");
  batch.put(kXattrFamily, xattr_key(kLayer, 7, "user.c"), "3");
  ASSERT_TRUE(database_->write(std::move(batch), cas::Database::Sync::no));
  EXPECT_EQ(*reader_.xattrs(6), (std::vector<std::pair<std::string, std::string>>{{"user.a", "1"}, {"user.b", "2"}}));
  EXPECT_EQ(reader_.xattr(6, "user.a")->value(), "1");
  EXPECT_FALSE(reader_.xattr(6, "user.c")->has_value());
}

TEST_F(LayerReaderTest, ReportsARecordThatDoesNotDecode) {
  cas::Database::Batch batch;
  batch.put(kInodeFamily, inode_key(kLayer, 6), "garbage");
  ASSERT_TRUE(database_->write(std::move(batch), cas::Database::Sync::no));
  EXPECT_EQ(reader_.inode(6).error().code, Errc::corrupt);
}

}  // namespace
}  // namespace stellarium::fs
