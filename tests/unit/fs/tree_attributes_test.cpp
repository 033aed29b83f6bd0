#include <gtest/gtest.h>
#include <sys/xattr.h>

#include <cerrno>

#include "fs/posix_acl.h"
#include "fs/writable_tree.h"
#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

using test::new_directory;
using test::new_file;
using test::refusal;

std::string acl(const char* text) {
  return acl_from_text(text).value();
}

class TreeAttributesTest : public testing::Test {
 protected:
  template <typename How>
  Result<WritableTree::Entry> change(Ino ino, How how) {
    return tree_->change(ino,
                         [&](Inode& inode) {
                           how(inode);
                           return Result<void>{};
                         },
                         {});
  }
  int set(Ino ino, std::string_view name, std::string_view value, int flags = 0) {
    return refusal(tree_->set_xattr(ino, name, value, flags, {}));
  }
  std::string access_acl(Ino ino) {
    const auto value = tree_->reader().xattr(ino, kAclAccess).value();
    return value ? acl_to_text(*value).value() : "";
  }

  test::WrittenTree tree_;
};

TEST_F(TreeAttributesTest, CopiesARecordUpWithAllItsXattrs) {
  ASSERT_FALSE(tree_.has_record(4));
  const auto changed = change(4, [](Inode& inode) { inode.uid = 7; });
  ASSERT_TRUE(changed);
  EXPECT_TRUE(tree_.has_record(4));
  EXPECT_EQ(tree_.stat(4).uid, 7u);
  EXPECT_EQ(changed->inode, tree_.stat(4));
  EXPECT_EQ(tree_.xattrs(4), (std::map<std::string, std::string>{{"user.one", "1"}, {"user.two", "2"}}));
  EXPECT_EQ((LayerReader{tree_.database(), 1}).inode(4)->value().uid, 0u);
  tree_.stack();
  ASSERT_TRUE(change(4, [](Inode& inode) { inode.gid = 8; }));
  EXPECT_EQ(tree_.stat(4).uid, 7u);
  EXPECT_EQ(tree_.xattrs(4).size(), 2u);
}

TEST_F(TreeAttributesTest, RefusesChangesOfWhatAnInodeIs) {
  EXPECT_EQ(refusal(change(4, [](Inode& inode) { inode.mode = S_IFIFO | 0644; })), EINVAL);
  EXPECT_EQ(refusal(change(4, [](Inode& inode) { inode.nlink = 7; })), EINVAL);
  EXPECT_EQ(refusal(change(3, [](Inode& inode) { inode.parent = 7; })), EINVAL);
  EXPECT_EQ(refusal(change(4, [](Inode& inode) { inode.has_xattrs = false; })), EINVAL);
  EXPECT_EQ(refusal(change(4, [](Inode& inode) { inode.size = 0; })), EINVAL);
  EXPECT_EQ(refusal(change(4, [](Inode& inode) { inode.atime.nanoseconds = 2'000'000'000; })), EINVAL);
  EXPECT_EQ(refusal(change(4711, [](Inode&) {})), ESTALE);
  const auto failed = tree_->change(4, [](Inode&) -> Result<void> { return fail(Errc::busy, "no"); }, {});
  EXPECT_EQ(refusal(failed), EBUSY);
  EXPECT_FALSE(tree_.has_record(4));
}

TEST_F(TreeAttributesTest, ChangesBodies) {
  ASSERT_TRUE(change(4, [](Inode& inode) {
    inode.body = Body::staged;
    inode.content = {};
    inode.staged = 12;
  }));
  EXPECT_EQ(tree_.stat(4).body, Body::staged);
  EXPECT_EQ(tree_.stat(4).ctime, Timespec{}) << "its bytes are the same, elsewhere";
  ASSERT_TRUE(change(4, [](Inode& inode) { inode.size = 100; }));
  EXPECT_GT(tree_.stat(4).ctime, Timespec{});
}

TEST_F(TreeAttributesTest, SetsCtimeUnlessItIsGiven) {
  ASSERT_TRUE(change(4, [](Inode& inode) {
    inode.ctime = {5, 6};
    inode.mode = S_IFREG | 0600;
  }));
  EXPECT_EQ(tree_.stat(4).ctime, (Timespec{5, 6}));
  ASSERT_TRUE(change(4, [](Inode& inode) { inode.mode = S_IFREG | 0600; }));
  EXPECT_GT(tree_.stat(4).ctime, (Timespec{5, 6}));
  EXPECT_EQ(tree_.stat(4).mtime, Timespec{});
}

TEST_F(TreeAttributesTest, AnExecutableFileIsAProgramAndStaysOne) {
  EXPECT_FALSE(tree_.stat(4).program);
  ASSERT_TRUE(change(4, [](Inode& inode) { inode.mode |= 0100; }));
  EXPECT_TRUE(tree_.stat(4).program);
  ASSERT_TRUE(change(4, [](Inode& inode) { inode.mode &= ~0111u; }));
  EXPECT_TRUE(tree_.stat(4).program);
  ASSERT_TRUE(change(3, [](Inode& inode) { inode.mode = S_IFDIR | 0711; }));
  EXPECT_FALSE(tree_.stat(3).program);
}

TEST_F(TreeAttributesTest, SetsAndRemovesXattrs) {
  EXPECT_EQ(set(4, "user.one", "x"), 0);
  EXPECT_EQ(set(4, "user.three", ""), 0);
  EXPECT_EQ(tree_.xattrs(4),
            (std::map<std::string, std::string>{{"user.one", "x"}, {"user.three", ""}, {"user.two", "2"}}));
  EXPECT_GT(tree_.stat(4).ctime, Timespec{});
  EXPECT_EQ(tree_.stat(4).mtime, Timespec{});
  for (const char* name : {"user.one", "user.two", "user.three"}) ASSERT_TRUE(tree_->remove_xattr(4, name, {}));
  EXPECT_FALSE(tree_.stat(4).has_xattrs);
  EXPECT_EQ(refusal(tree_->remove_xattr(4, "user.one", {})), ENODATA);
  EXPECT_EQ(set(5, "user.new", "1"), 0);
  EXPECT_TRUE(tree_.stat(5).has_xattrs);
}

TEST_F(TreeAttributesTest, RemovesAnXattrOfALowerLayer) {
  ASSERT_TRUE(tree_->remove_xattr(4, "user.one", {}));
  EXPECT_EQ(tree_.xattrs(4), (std::map<std::string, std::string>{{"user.two", "2"}}));
  ASSERT_TRUE(tree_->remove_xattr(2, "user.label", {}));
  EXPECT_FALSE(tree_.stat(2).has_xattrs);
  EXPECT_EQ(tree_.xattrs(2).size(), 0u);
}

TEST_F(TreeAttributesTest, RefusesXattrsAsTheKernelDoes) {
  EXPECT_EQ(set(4, "user.one", "x", XATTR_CREATE), EEXIST);
  EXPECT_EQ(set(4, "user.new", "x", XATTR_REPLACE), ENODATA);
  EXPECT_EQ(set(4, "user.new", "x", 4), EINVAL);
  EXPECT_EQ(set(4, std::string(256, 'x'), "x"), ERANGE);
  EXPECT_EQ(set(4, "", "x"), ERANGE);
  EXPECT_EQ(set(4, "user.new", std::string(kMaxXattrValue + 1, 'x')), E2BIG);
  EXPECT_FALSE(tree_.has_record(4));
  EXPECT_EQ(set(4, "user.new", "x", XATTR_CREATE), 0);
  EXPECT_EQ(set(4, "user.new", "y", XATTR_REPLACE), 0);
}

TEST_F(TreeAttributesTest, LimitsTheXattrsOfOneInodeToOneMebibyte) {
  const std::string large(kMaxXattrValue, 'x');
  int refused = 0;
  for (int i = 0; i < 16 && refused == 0; ++i) refused = set(7, "user." + std::to_string(i), large);
  EXPECT_EQ(refused, ENOSPC);
  EXPECT_EQ(tree_.xattrs(7).size(), 15u);
  EXPECT_EQ(set(7, "user.0", large), 0) << "in place of the same";
}

TEST_F(TreeAttributesTest, AnAccessAclSetsThePermissions) {
  EXPECT_EQ(set(4, kAclAccess, acl("user::rwx,user:7:rw-,group::r--,mask::rw-,other::---")), 0);
  EXPECT_EQ(tree_.stat(4).mode, S_IFREG | 0760u);
  EXPECT_TRUE(tree_.stat(4).program);
  ASSERT_TRUE(change(4, [](Inode& inode) { inode.mode = S_IFREG | 0644; }));
  EXPECT_EQ(access_acl(4), "user::rw-,user:7:rw-,group::r--,mask::r--,other::r--");
  EXPECT_EQ(tree_.xattrs(4).size(), 3u);

  EXPECT_EQ(set(4, kAclAccess, acl("user::rw-,group::r--,other::---")), 0) << "says no more than a mode";
  EXPECT_EQ(tree_.stat(4).mode, S_IFREG | 0640u);
  EXPECT_EQ(tree_.xattrs(4).size(), 2u);
  EXPECT_EQ(set(7, kAclAccess, acl("user::rw-,group::---,other::---")), 0);
  EXPECT_FALSE(tree_.stat(7).has_xattrs);
  EXPECT_EQ(set(4, kAclAccess, "no ACL"), EINVAL);
  EXPECT_EQ(set(4, kAclAccess, acl("user::rw-,group::r--,other::---").substr(0, 12)), EINVAL);
}

TEST_F(TreeAttributesTest, AnEmptyAclRemovesIt) {
  const std::string empty = acl("user::rwx,group::r-x,other::---").substr(0, 4);
  EXPECT_EQ(set(3, kAclDefault, acl("user::rwx,group::r-x,other::---")), 0);
  EXPECT_EQ(tree_.xattrs(3).size(), 1u);
  EXPECT_EQ(set(3, kAclDefault, empty), 0);
  EXPECT_FALSE(tree_.stat(3).has_xattrs);
  EXPECT_EQ(set(3, kAclDefault, empty), 0);
}

TEST_F(TreeAttributesTest, NewNodesInheritADefaultAcl) {
  const std::string rules = acl("user::rwx,user:7:rwx,group::r-x,mask::rwx,other::r--");
  ASSERT_EQ(set(3, kAclDefault, rules), 0);
  WritableTree::NewNode wanted = new_file(0640);
  wanted.umask = 0777;
  const Ino file = tree_->make(3, "file", wanted, {}).value().ino;
  EXPECT_EQ(tree_.stat(file).mode, S_IFREG | 0640u);
  EXPECT_EQ(access_acl(file), "user::rw-,user:7:rwx,group::r-x,mask::r--,other::---");
  EXPECT_EQ(tree_.xattrs(file).size(), 1u);
  const Ino directory = tree_->make(3, "directory", new_directory(0777), {}).value().ino;
  EXPECT_EQ(tree_.stat(directory).mode, S_IFDIR | 0774u);
  EXPECT_EQ(tree_.xattrs(directory).at(std::string{kAclDefault}), rules);
  const Ino link = tree_->make(3, "link", {.mode = S_IFLNK, .symlink = "x"}, {}).value().ino;
  EXPECT_FALSE(tree_.stat(link).has_xattrs);
  const Ino unnamed = tree_->make_unnamed(directory, new_file(0600), {}).value().ino;
  EXPECT_EQ(access_acl(unnamed), "user::rw-,user:7:rwx,group::r-x,mask::---,other::---");
}

}  // namespace
}  // namespace stellarium::fs
