#include "fs/pax_records.h"

#include <gtest/gtest.h>

#include <string>

namespace stellarium::fs {
namespace {

std::string record(std::string_view key, std::string_view value) {
  std::string records;
  put_pax_record(records, key, value);
  return records;
}

TEST(PaxRecords, ALengthCountsItself) {
  EXPECT_EQ(record("a", "b"), "6 a=b\n");
  EXPECT_EQ(record("a", "12345"), "11 a=12345\n");
  EXPECT_EQ(record("key", std::string(90, 'v')).size(), 98u);
  EXPECT_EQ(record("key", std::string(92, 'v')).substr(0, 4), "101 ");
}

TEST(PaxRecords, AreReadAsTheyWereWritten) {
  const std::string value("\0=\n 5 x", 7);
  const auto read = read_pax_records(record("path", "a=b") + record("mtime", "7.000000250") + record("uid", "12") +
                                     record("SCHILY.xattr." + escaped_attribute_name("user.a=b%"), value));
  ASSERT_TRUE(read);
  EXPECT_FALSE(read->others);
  EXPECT_EQ(read->path, "a=b");
  EXPECT_EQ(read->mtime, (Timespec{7, 250}));
  EXPECT_EQ(read->uid, 12u);
  EXPECT_FALSE(read->gid || read->size || read->link || read->atime);
  EXPECT_EQ(read->xattrs, (Xattrs{{"user.a=b%", value}}));
}

TEST(PaxRecords, TellWhatOthersMustRead) {
  for (const std::string& records :
       {record("GNU.sparse.major", "1"), record("SCHILY.acl.access", "user::rwx"), record("mtime", "-1"),
        record("mtime", "1.0000000001"), record("mtime", "1."), record("uid", "+1"), record("path", ""),
        record("path", std::string("a\0b", 3)), record("path", "a") + record("path", "b"),
        record("SCHILY.xattr.system.posix_acl_access", "x"), record("SCHILY.xattr.", "x"),
        record("hdrcharset", "KOI8")}) {
    const auto read = read_pax_records(records);
    ASSERT_TRUE(read) << records;
    EXPECT_TRUE(read->others) << records;
  }
}

TEST(PaxRecords, TellHalfAVersionOfASparseMap) {
  const std::string major = record("GNU.sparse.major", "1"), minor = record("GNU.sparse.minor", "0");
  for (const std::string& half : {major, minor, major + major}) EXPECT_TRUE(read_pax_records(half)->half_version);
  for (const std::string& whole : {major + minor, minor + major, major + minor + major, record("mtime", "1")})
    EXPECT_FALSE(read_pax_records(whole)->half_version);
}

TEST(PaxRecords, MalformedOnesAreNone) {
  for (const std::string& records :
       {std::string{"a=b\n"}, std::string{"5 a=b\n"}, std::string{"7 a=b\n"}, std::string{"06 a=b\n"},
        std::string{"6 a=b "}, std::string{"6 a b\n"}, std::string{"5 =b\n"}, std::string{"0 a=b\n"},
        std::string{"99999999999999999999 a=b\n"}, std::string{"2 \n"}, std::string{"6"}, record("a", "b") + "x",
        record("size", "-1"), record("size", ""), record("size", "1x"), record("size", "9223372036854775808"),
        record("size", "1") + record("size", "1")}) {
    EXPECT_FALSE(read_pax_records(records)) << records;
  }
}

TEST(Utf8, IsToldFromOtherBytes) {
  for (const char* good : {"", "ascii", "\xc2\x80", "\xe2\x82\xac", "\xf0\x9f\x8c\x8c", "\xef\xbf\xbf"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (const char* bad :
       {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "a\xe2\x82"})
    EXPECT_FALSE(is_utf8(bad)) << bad;
}

}  // namespace
}  // namespace stellarium::fs
