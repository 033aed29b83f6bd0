#include "base/host_journal.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/temp_dir.h"

namespace stellarium {
namespace {

/// A file system of its own in a file, mounted until the end of the test.
class LoopDisk {
 public:
  explicit LoopDisk(const std::string& mkfs) {
    std::filesystem::create_directory(where());
    const std::string image = (folder_ / "disk.img").string();
    mounted_ = std::system(("truncate -s 32M " + image + " && " + mkfs + " " + image + " && mount -o loop " + image +
                            " " + where())
                               .c_str()) == 0;
  }
  LoopDisk(const LoopDisk&) = delete;
  LoopDisk& operator=(const LoopDisk&) = delete;
  ~LoopDisk() {
    const bool left = !mounted_ || std::system(("umount " + where()).c_str()) == 0;
    EXPECT_TRUE(left);
  }
  bool mounted() const { return mounted_; }
  bool has_journal() const {
    struct stat st {};
    EXPECT_EQ(::stat(where().c_str(), &st), 0);
    return has_ordered_journal(st.st_dev);
  }

 private:
  std::string where() const { return (folder_ / "mount").string(); }

  test::TempDir folder_;
  bool mounted_ = false;
};

TEST(HostJournal, IsSeenOnExt4) {
  const LoopDisk disk{"mkfs.ext4 -q -F"};
  ASSERT_TRUE(disk.mounted());
  EXPECT_TRUE(disk.has_journal());
}

TEST(HostJournal, IsMissedOnExt4WithoutOne) {
  const LoopDisk disk{"mkfs.ext4 -q -F -O ^has_journal"};
  ASSERT_TRUE(disk.mounted());
  EXPECT_FALSE(disk.has_journal());
}

TEST(HostJournal, IsNotExpectedOfFileSystemsInMemory) {
  struct stat st {};
  ASSERT_EQ(::stat("/proc", &st), 0);
  EXPECT_FALSE(has_ordered_journal(st.st_dev));
}

}  // namespace
}  // namespace stellarium
