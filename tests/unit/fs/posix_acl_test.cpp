#include "fs/posix_acl.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace stellarium::fs {
namespace {

TEST(PosixAcl, TextAndBinaryAgree) {
  const auto binary = acl_from_text("user::rwx,user:1000:r-x,group::r--,group:50:rw-,mask::rwx,other::---");
  ASSERT_TRUE(binary) << to_string(binary.error());
  EXPECT_EQ(binary->size(), 4u + 6 * 8);
  EXPECT_EQ(acl_to_text(*binary).value(), "user::rwx,user:1000:r-x,group::r--,group:50:rw-,mask::rwx,other::---");
}

TEST(PosixAcl, SortsEntriesAsTheKernelWantsThem) {
  const auto binary = acl_from_text("other::r--\nmask::r--\nuser:7:r--\ngroup::r--\nuser:5:r--\nuser::rw-\n");
  ASSERT_TRUE(binary);
  EXPECT_EQ(acl_to_text(*binary).value(), "user::rw-,user:5:r--,user:7:r--,group::r--,mask::r--,other::r--");
}

TEST(PosixAcl, PrefersTheNumberInTheFourthField) {
  const auto binary = acl_from_text("user::rw-,user:nobody-here:r--:4711,group::r--,mask::r--,other::---");
  ASSERT_TRUE(binary);
  EXPECT_NE(acl_to_text(*binary)->find("user:4711:r--"), std::string::npos);
}

TEST(PosixAcl, RefusesWhatIsNotAnAcl) {
  for (const char* bad : {"", "user::rwx", "user::rwx,group::r--", "user::rwx,group::r--,other::r--,other::r--",
                          "user::rwz,group::r--,other::r--", "user::rwx,user:1:r--,group::r--,other::r--",
                          "what::rwx,user::rwx,group::r--,other::r--",
                          "user::rwx,user:no-such-user-here:r--,group::r--,mask::r--,other::r--",
                          "user::rwx,user:1:r--,user:1:rw-,group::r--,mask::r--,other::---"}) {
    EXPECT_FALSE(acl_from_text(bad)) << bad;
  }
}

TEST(PosixAcl, RefusesDamagedBinary) {
  const std::string good = acl_from_text("user::rwx,group::r--,other::r--").value();
  EXPECT_FALSE(acl_to_text(good.substr(0, good.size() - 1)));
  EXPECT_FALSE(acl_to_text(""));
  std::string version = good;
  version[0] = 3;
  EXPECT_FALSE(acl_to_text(version));
  std::string tag = good;
  tag[4] = 0x40;
  EXPECT_FALSE(acl_to_text(tag));
}

TEST(PosixAcl, KnowsWhatAModeCannotSay) {
  EXPECT_FALSE(acl_says_more(acl_from_text("user::rw-,group::r--,other::---").value()).value());
  EXPECT_TRUE(acl_says_more(acl_from_text("user::rw-,group::r--,mask::r--,other::---").value()).value());
  EXPECT_TRUE(acl_says_more(acl_from_text("user::rw-,group::r--,group:5:r--,mask::r--,other::---").value()).value());
}

TEST(PosixAcl, FollowsAChmodInTheMaskOrElseInTheGroup) {
  const auto after = [](const char* text) {
    return acl_to_text(acl_with_permissions(acl_from_text(text).value(), 0741).value()).value();
  };
  EXPECT_EQ(after("user::rw-,group::rw-,other::rw-"), "user::rwx,group::r--,other::--x");
  EXPECT_EQ(after("user::rw-,group::rw-,mask::rwx,other::rw-"), "user::rwx,group::rw-,mask::r--,other::--x");
}

TEST(PosixAcl, ChecksWhatIsToBeKept) {
  const std::string good = acl_from_text("user::rw-,group::r--,other::---").value();
  EXPECT_EQ(acl_checked(good).value(), good);
  EXPECT_EQ(acl_checked(good.substr(0, 4) + good.substr(12) + good.substr(4, 8)).value(), good) << "another order";
  for (const std::string& bad : {good.substr(0, 12), good + good.substr(4, 8), good.substr(0, 4), std::string{"x"}})
    EXPECT_EQ(acl_checked(bad).error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace stellarium::fs
