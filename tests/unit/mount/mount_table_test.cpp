#include "fs/fuse/mount_table.h"

#include <gtest/gtest.h>

namespace stellarium::fs::fuse {
namespace {

TEST(MountTable, ReadsALineWithAndWithoutOptionalFields) {
  for (const char* fields : {"", "shared:5 ", "shared:5 master:2 "}) {
    const auto entry = parse_mountinfo(std::string{"61 29 0:51 / /srv/web ro,relatime "} + fields +
                                       "- fuse.stellarium stellarium ro,user_id=0");
    ASSERT_TRUE(entry) << fields;
    EXPECT_EQ(entry->device, "0:51");
    EXPECT_EQ(entry->mountpoint, "/srv/web");
    EXPECT_EQ(entry->type, "fuse.stellarium");
  }
}

TEST(MountTable, UnescapesBlanksTabsNewlinesAndBackslashes) {
  const auto entry = parse_mountinfo(R"(1 2 0:3 / /a\040b\011c\012d\134e\04 rw - ext4 /dev/vda rw)");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->mountpoint, "/a b\tc\nd\\e\\04");
}

TEST(MountTable, IgnoresLinesOfAnotherShape) {
  for (const char* line : {"", "1 2 0:3 / /a", "1 2 0:3 / /a rw", "1 2 0:3 / /a rw -"})
    EXPECT_FALSE(parse_mountinfo(line)) << line;
}

TEST(MountTable, FindsTheRootOfThisSystem) {
  EXPECT_TRUE(mount_on("/"));
  EXPECT_FALSE(mount_on("/no/such/mount"));
}

}  // namespace
}  // namespace stellarium::fs::fuse
