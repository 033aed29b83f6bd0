#include "fs/record_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

class RecordCacheTest : public testing::Test {
 protected:
  static Inode of_user(std::uint32_t uid) {
    Inode inode = test::make_file("");
    inode.uid = uid;
    return inode;
  }
  void put(Ino ino, std::uint32_t uid) { tree_.put("file", kRootIno, ino, of_user(uid), 0, tree_.layer()); }
  std::uint32_t user(Ino ino) { return records_.locate(tree_->reader(), ino).value().value().inode.uid; }

  test::WrittenTree tree_;
  RecordCache records_;
};

TEST_F(RecordCacheTest, TellsWhatWasReadOrWrittenLast) {
  put(100, 1);
  EXPECT_EQ(user(100), 1u);
  put(100, 2);
  EXPECT_EQ(user(100), 1u) << "it asks the database only once";
  records_.written(100, {tree_.layer(), of_user(3)});
  EXPECT_EQ(user(100), 3u);
  records_.drop(100);
  EXPECT_EQ(user(100), 2u);
  EXPECT_EQ(records_.locate(tree_->reader(), 4)->value().layer, 1u);
}

TEST_F(RecordCacheTest, KeepsTheLaterOfTwoThatShareAPlace) {
  put(100, 1);
  put(356, 2);
  EXPECT_EQ(user(100), 1u);
  EXPECT_EQ(user(356), 2u);
  put(100, 3);
  EXPECT_EQ(user(100), 3u);
  records_.drop(356);  // is not there any more, and takes nobody along
  put(100, 4);
  EXPECT_EQ(user(100), 3u);
}

TEST_F(RecordCacheTest, DoesNotRememberThatThereIsNone) {
  EXPECT_FALSE(records_.locate(tree_->reader(), 100).value());
  put(100, 1);
  EXPECT_EQ(user(100), 1u);
}

TEST_F(RecordCacheTest, KnowsNothingWhileItIsHeldAndNothingOfBefore) {
  put(100, 1);
  EXPECT_EQ(user(100), 1u);
  {
    const RecordCache::Hold hold{records_};
    put(100, 2);
    EXPECT_EQ(user(100), 2u);
    put(100, 3);
    EXPECT_EQ(user(100), 3u);
  }
  EXPECT_EQ(user(100), 3u);
  put(100, 4);
  EXPECT_EQ(user(100), 3u) << "it remembers again";
}

// Whoever asks after a write has returned sees it, or a later one.
TEST_F(RecordCacheTest, NeverFallsBehindAWrite) {
  constexpr std::uint32_t kWrites = 3000;
  put(100, 0);
  std::atomic<std::uint32_t> done = 0;
  std::atomic<bool> wrong = false;
  std::vector<std::jthread> readers;
  for (int reader = 0; reader < 2; ++reader)
    readers.emplace_back([&] {
      while (done < kWrites) {
        const std::uint32_t at_least = done;
        if (user(100) < at_least) wrong = true;
      }
    });
  for (std::uint32_t write = 1; write <= kWrites; ++write) {
    if (write % 7 == 0) {
      const RecordCache::Hold hold{records_};
      put(100, write);
    } else {
      put(100, write);
      if (write % 3 == 0) {
        records_.drop(100);
      } else {
        records_.written(100, {tree_.layer(), of_user(write)});
      }
    }
    done = write;
  }
  readers.clear();
  EXPECT_FALSE(wrong);
}

}  // namespace
}  // namespace stellarium::fs
