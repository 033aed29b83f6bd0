#include "fs/stat_cache.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <fstream>

#include "support/golden.h"

namespace stellarium::fs {
namespace {

class StatCacheTest : public testing::Test {
 protected:
  StatCacheTest() {
    char dir[] = "/tmp/stat_cache_test.XXXXXX";
    dir_ = ::mkdtemp(dir);
    file_ = dir_ / "deep" / "cache";
    status_.st_dev = 5;
    status_.st_ino = 77;
    status_.st_size = 1234;
    status_.st_mtim = {1000, 5};
    status_.st_ctim = {2000, 6};
  }
  ~StatCacheTest() override { std::filesystem::remove_all(dir_); }

  std::filesystem::path dir_, file_;
  struct stat status_ {};
  const KnownContent content_{cas::hash_of(as_bytes("hello")), true};
  static constexpr timespec kLongAfter{3000, 0};
};

TEST_F(StatCacheTest, RemembersAcrossRuns) {
  {
    StatCache cache{file_};
    cache.remember(status_, content_, kLongAfter);
    ASSERT_TRUE(cache.save());
  }
  EXPECT_EQ(StatCache{file_}.find(status_), content_);
}

TEST_F(StatCacheTest, WritesAndReadsTheFileOfVersionTwo) {
  StatCache cache{file_};
  cache.remember(status_, content_, kLongAfter);
  ASSERT_TRUE(cache.save());
  std::ifstream in{file_, std::ios::binary};
  const std::string made{std::istreambuf_iterator<char>{in}, {}};
  EXPECT_EQ(made, test::golden_or_write("stat-cache-v2.bin", made));
}

TEST_F(StatCacheTest, KeepsManyFilesOfSeveralRuns) {
  constexpr unsigned kRuns = 3, kFiles = 100;
  for (unsigned run = 0; run < kRuns; ++run) {
    StatCache cache{file_};
    for (unsigned file = 0; file < kFiles; ++file) {
      status_.st_ino = (file * 37 % kFiles) * kRuns + run;
      cache.remember(status_, {content_.id, run == 1, run == 2}, kLongAfter);
    }
    ASSERT_TRUE(cache.save());
  }
  StatCache cache{file_};
  EXPECT_EQ(cache.size(), kRuns * kFiles);
  for (unsigned inode = 0; inode < kRuns * kFiles; ++inode) {
    status_.st_ino = inode;
    EXPECT_EQ(cache.find(status_), (KnownContent{content_.id, inode % kRuns == 1, inode % kRuns == 2})) << inode;
  }
}

TEST_F(StatCacheTest, KeepsAFileOnceThatWasRememberedTwice) {
  {
    StatCache cache{file_};
    cache.remember(status_, content_, kLongAfter);
    cache.remember(status_, content_, kLongAfter);
    ASSERT_TRUE(cache.save());
  }
  StatCache cache{file_};
  EXPECT_EQ(cache.size(), 1u);
  EXPECT_EQ(cache.find(status_), content_);
}

TEST_F(StatCacheTest, CorrectsWhatAnEarlierRunRemembered) {
  const KnownContent other{cas::hash_of(as_bytes("other")), false, true};
  for (const KnownContent& content : {content_, other}) {
    StatCache cache{file_};
    cache.remember(status_, content, kLongAfter);
    EXPECT_EQ(cache.size(), 1u);
    ASSERT_TRUE(cache.save());
  }
  StatCache cache{file_};
  EXPECT_EQ(cache.size(), 1u);
  EXPECT_EQ(cache.find(status_), other);
}

TEST_F(StatCacheTest, DropsAFileThatEightSavesDidNotUse) {
  auto other = status_;
  const auto save_beside = [&](bool use) {
    StatCache cache{file_};
    EXPECT_EQ(use && cache.find(status_).has_value(), use);
    ++other.st_ino;
    cache.remember(other, content_, kLongAfter);
    ASSERT_TRUE(cache.save());
  };
  {
    StatCache cache{file_};
    cache.remember(status_, content_, kLongAfter);
    ASSERT_TRUE(cache.save());
  }
  for (int save = 0; save < 5; ++save) save_beside(false);
  save_beside(true);
  for (int save = 0; save < 8; ++save) save_beside(false);
  EXPECT_TRUE(StatCache{file_}.find(status_));
  save_beside(false);
  EXPECT_FALSE(StatCache{file_}.find(status_));
}

TEST_F(StatCacheTest, StartsEmptyOnAFileOfAnEarlierVersion) {
  std::filesystem::create_directories(file_.parent_path());
  std::ofstream{file_, std::ios::binary} << test::golden("stat-cache-v1.bin");
  EXPECT_EQ(StatCache{file_}.size(), 0u);
}

TEST_F(StatCacheTest, ForgetsAFileWhoseTimesOrSizeChanged) {
  StatCache first{file_};
  first.remember(status_, content_, kLongAfter);
  ASSERT_TRUE(first.save());
  StatCache cache{file_};
  auto changed = status_;
  changed.st_ctim.tv_nsec++;
  EXPECT_FALSE(cache.find(changed));
  changed = status_;
  changed.st_mtim.tv_sec++;
  EXPECT_FALSE(cache.find(changed));
  changed = status_;
  changed.st_size++;
  EXPECT_FALSE(cache.find(changed));
  EXPECT_TRUE(cache.find(status_));
}

TEST_F(StatCacheTest, DoesNotTrustAFileThatChangedJustBeforeItWasRead) {
  StatCache cache{file_};
  cache.remember(status_, content_, timespec{2001, 0});
  EXPECT_EQ(cache.size(), 0u);
}

TEST_F(StatCacheTest, IsEmptyAfterDamageAnywhere) {
  StatCache cache{file_};
  cache.remember(status_, content_, kLongAfter);
  ASSERT_TRUE(cache.save());
  const auto size = static_cast<std::streamoff>(std::filesystem::file_size(file_));
  for (std::streamoff at = 0; at < size; ++at) {
    std::fstream file{file_, std::ios::in | std::ios::out | std::ios::binary};
    file.seekg(at);
    const char byte = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 0x10));
    file.close();
    EXPECT_EQ(StatCache{file_}.size(), 0u) << "byte " << at;
    std::fstream mend{file_, std::ios::in | std::ios::out | std::ios::binary};
    mend.seekp(at);
    mend.put(byte);
  }
  EXPECT_EQ(StatCache{file_}.size(), 1u);
}

TEST_F(StatCacheTest, TellsTheSizesOfFilesThatAreNotSmall) {
  StatCache cache{file_};
  for (const off_t size : {100, 5000, 70'000}) {
    status_.st_ino = static_cast<ino_t>(size);
    status_.st_size = size;
    cache.remember(status_, content_, kLongAfter);
  }
  ASSERT_TRUE(cache.save());
  auto sizes = StatCache{file_}.file_sizes(5000);
  std::ranges::sort(sizes);
  EXPECT_EQ(sizes, (std::vector<std::uint64_t>{5000, 70'000}));
}

}  // namespace
}  // namespace stellarium::fs
