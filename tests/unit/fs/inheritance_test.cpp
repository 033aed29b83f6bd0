#include "fs/inheritance.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fs/posix_acl.h"

namespace stellarium::fs {
namespace {

Inode directory(std::uint32_t permissions) {
  Inode inode;
  inode.mode = S_IFDIR | permissions;
  inode.gid = 50;
  return inode;
}

TEST(Inheritance, TheUmaskCountsWithoutADefaultAcl) {
  const auto given = inherit(directory(0755), "", S_IFREG | S_ISUID | 0777, 027, 8).value();
  EXPECT_EQ(given.mode, S_IFREG | S_ISUID | 0750u);
  EXPECT_EQ(given.gid, 8u);
  EXPECT_TRUE(given.xattrs.empty());
}

TEST(Inheritance, ASetgidDirectoryGivesItsGroupAndToDirectoriesTheBit) {
  EXPECT_EQ(inherit(directory(02755), "", S_IFREG | 0644, 0, 8)->gid, 50u);
  EXPECT_EQ(inherit(directory(02755), "", S_IFREG | 0644, 0, 8)->mode, S_IFREG | 0644u);
  EXPECT_EQ(inherit(directory(02755), "", S_IFLNK, 077, 8)->gid, 50u);
  EXPECT_EQ(inherit(directory(02755), "", S_IFDIR | 0755, 0, 8)->mode, S_IFDIR | S_ISGID | 0755u);
  EXPECT_EQ(inherit(directory(0755), "", S_IFDIR | 0755, 0, 8)->mode, S_IFDIR | 0755u);
}

TEST(Inheritance, SymlinksIgnoreUmaskAndAcl) {
  const std::string rules = acl_from_text("user::r--,user:7:r--,group::r--,mask::r--,other::---").value();
  const auto given = inherit(directory(0755), rules, S_IFLNK, 077, 8).value();
  EXPECT_EQ(given.mode, S_IFLNK | 0777u);
  EXPECT_TRUE(given.xattrs.empty());
}

TEST(Inheritance, ADefaultAclThatIsAModeLimitsTheMode) {
  const std::string rules = acl_from_text("user::rw-,group::r--,other::---").value();
  const auto file = inherit(directory(0755), rules, S_IFREG | 0666, 0777, 8).value();
  EXPECT_EQ(file.mode, S_IFREG | 0640u);
  EXPECT_TRUE(file.xattrs.empty());
  const auto below = inherit(directory(02755), rules, S_IFDIR | 0777, 0777, 8).value();
  EXPECT_EQ(below.mode, S_IFDIR | S_ISGID | 0640u);
  ASSERT_EQ(below.xattrs.size(), 1u);
  EXPECT_EQ(below.xattrs[0], (std::pair{std::string{kAclDefault}, rules}));
}

TEST(Inheritance, TheMaskIsLimitedInPlaceOfTheGroup) {
  const std::string rules = acl_from_text("user::rwx,group::rwx,mask::rwx,other::rwx").value();
  const auto file = inherit(directory(0755), rules, S_IFREG | 0640, 0, 8).value();
  EXPECT_EQ(file.mode, S_IFREG | 0640u);
  ASSERT_EQ(file.xattrs.size(), 1u);
  EXPECT_EQ(acl_to_text(file.xattrs[0].second).value(), "user::rw-,group::rwx,mask::r--,other::---");
}

TEST(Inheritance, RefusesADefaultAclThatIsNone) {
  EXPECT_FALSE(inherit(directory(0755), "damaged", S_IFREG | 0644, 0, 8));
  EXPECT_TRUE(inherit(directory(0755), std::string{"\2\0\0\0", 4}, S_IFREG | 0644, 0, 8));
}

}  // namespace
}  // namespace stellarium::fs
