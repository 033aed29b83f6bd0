#include "fs/tar_reader.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fs/archive_reader.h"
#include "fs/pax_writer.h"
#include "support/byte_streams.h"
#include "support/same_members.h"
#include "support/tar_maker.h"

namespace stellarium::fs {
namespace {

using test::ReadMembers;
using test::TarMaker;

ReadMembers by_libarchive(const std::string& tar) {
  test::TextInput input{tar};
  ArchiveReader reader{input};
  return test::read_members(reader);
}

/// In parts of any size, with the same outcome as libarchive; `others` is how often that was asked.
ReadMembers read(const std::string& tar, std::uint64_t others) {
  const ReadMembers wanted = by_libarchive(tar);
  ReadMembers found;
  for (const std::size_t part : {std::size_t{1} << 20, std::size_t{1000}, std::size_t{7}}) {
    test::TextInput input{tar, part};
    TarReader reader{input};
    found = test::read_members(reader);
    EXPECT_EQ(found.lines, wanted.lines) << part;
    EXPECT_EQ(found.whole, wanted.whole) << found.error << " / " << wanted.error;
    EXPECT_EQ(reader.others(), others) << found.error;
  }
  return found;
}

TEST(TarReader, ReadsWhatArchiversWriteByItself) {
  const std::string large(700'001, 'l');
  TarMaker tar;
  tar.directory("./", 01755).directory("./dir/").file("./dir/empty", "").file("./dir/a", "a", 06755);
  tar.file("block", std::string(512, 'b')).file("large", large);
  tar.symlink("sym", "../dir").link("hard", "./dir/a");
  tar.header({.name = "fifo", .type = '6'});
  tar.header({.name = "null", .type = '3', .major = 1, .minor = 3}).header({.name = "sda", .type = '4', .major = 8});
  tar.header({.name = std::string(100, 'n')}).symlink("long", std::string(100, 't'));
  EXPECT_EQ(read(tar.whole(), 0).lines.size(), 13u);
}

TEST(TarReader, DataOfWhatIsNamedAsAFolderIsReadAsLibarchiveReadsIt) {
  TarMaker by_header, by_record, by_half_a_record;
  by_header.header({.name = "x/", .size = 1000}).data(std::string(1000, 'd')).file("behind", "b");
  by_record.pax({{"path", "x/"}}).header({.name = "x", .size = 1000}).data(std::string(1000, 'd')).file("behind", "b");
  read(by_header.whole(), 1);
  read(by_record.whole(), 1);
  by_half_a_record.pax({{"path", std::string("x/\0y", 4)}}).header({.name = "x", .size = 1000});
  read(by_half_a_record.data(std::string(1000, 'd')).file("behind", "b").whole(), 1);
}

TEST(TarReader, ReadsPaxRecordsByItself) {
  const std::string name = "dir/" + std::string(255, 'x');
  TarMaker tar;
  tar.pax({{"mtime", "1700000000.123456789"}, {"atime", "5.5"}, {"ctime", "7"}}).file("times", "t");
  tar.pax({{"path", name}, {"uid", "4000000000"}, {"gid", "2147483648"}, {"uname", "root"}}).file("cut", "named");
  tar.pax({{"LIBARCHIVE.creationtime", "12.5"}, {"SCHILY.dev", "1"}, {"SCHILY.ino", "2"}, {"SCHILY.nlink", "3"}});
  tar.file("of bsdtar", "").pax({{"comment", "none"}}).file("commented", "");
  tar.pax({{"linkpath", name}}).symlink("sym", "cut").pax({{"linkpath", name}}).link("hard", "cut");
  tar.pax({{"size", "3"}}).header({.name = "sized", .size = 0}).data("abc");
  tar.pax({{"hdrcharset", "BINARY"}, {"path", "\xff\xfe"}}).file("x", "");
  tar.pax({{"path", "a\xcc\x88"}}).file("composed", "");
  tar.pax({{"SCHILY.xattr.user.a%3Db%25", "value"}, {"SCHILY.xattr.security.capability", std::string("\0\n=", 3)}})
      .file("attributes", "");
  EXPECT_EQ(read(tar.whole(), 0).lines.size(), 10u);
}

TEST(TarReader, ReadsLongNamesOfGnuTarByItself) {
  const std::string name(1000, 'n'), link(300, 'l');
  TarMaker tar;
  tar.header({.name = "././@LongLink", .type = 'L', .size = name.size() + 1}).data(name + '\0').file("cut", "long");
  tar.header({.name = "././@LongLink", .type = 'K', .size = link.size() + 1}).data(link + '\0');
  tar.header({.name = "././@LongLink", .type = 'L', .size = name.size() + 1}).data(name + '\0').symlink("cut", "cut");
  EXPECT_EQ(read(tar.whole(), 0).lines.size(), 2u);
}

TEST(TarReader, AsksLibarchiveAboutOneMemberAndGoesOn) {
  TarMaker tar;
  const auto plain = [&] { tar.file("plain", std::string(1000, 'p')); };
  plain();
  tar.pax({{"SCHILY.acl.access", "user::rwx,user:root:r--:0,group::r--,mask::r--,other::---"}}).file("acl", "a");
  plain();
  tar.pax({{"GNU.sparse.major", "1"},
           {"GNU.sparse.minor", "0"},
           {"GNU.sparse.name", "sparse"},
           {"GNU.sparse.realsize", "5000"}});
  const std::string map = "1\n4096\n904\n";
  tar.header({.name = "s", .size = 512 + 904}).data(map + std::string(512 - map.size(), '\0') + std::string(904, 's'));
  plain();
  tar.pax({{"mtime", "-1.25"}}).file("before 1970", "old");
  tar.pax({{"SCHILY.fflags", "nodump"}}).symlink("flagged", "f");
  tar.pax({{"path", "trailing/"}}).file("x", "");
  tar.pax({{"unheard", "of"}}).file("unknown", std::string(600'000, 'u'));
  plain();
  const ReadMembers found = read(tar.whole(), 6);
  EXPECT_EQ(found.lines.size(), 10u);
  EXPECT_TRUE(found.whole) << found.error;
}

TEST(TarReader, AsksLibarchiveForAllThatComesIfItIsAskedAllTheTime) {
  TarMaker tar;
  for (int number = 0; number < 40; ++number)
    tar.pax({{"unheard", "of"}}).file("file" + std::to_string(number), std::string(700, 'u'));
  tar.file("plain", "p");
  EXPECT_EQ(read(tar.whole(), 17).lines.size(), 41u);
}

/// A member whose data nobody asks for is left out.
TEST(TarReader, SkipsDataThatIsNotRead) {
  const std::string tar = TarMaker{}
                              .file("a", std::string(600'000, 'a'))
                              .pax({{"unheard", "of"}})
                              .file("b", std::string(600'000, 'b'))
                              .file("c", "c")
                              .whole();
  test::TextInput input{tar, 5000};
  TarReader reader{input};
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(reader.next().value().value().path, name);
  EXPECT_FALSE(reader.next().value());
  ASSERT_TRUE(reader.drain());
  EXPECT_EQ(reader.stream_bytes(), tar.size());
}

TEST(TarReader, LeavesTheRestToLibarchive) {
  const auto rest_after = [](TarMaker tar) { return read(tar.file("after", "a").file("more", "m").whole(), 1); };
  EXPECT_TRUE(rest_after(TarMaker{}.header({.name = "g", .type = 'g', .size = 14}).data("14 comment=no\n")).whole);
  EXPECT_TRUE(rest_after(TarMaker{}.header({.name = "old", .type = '\0', .size = 3}).data("old")).whole);
  EXPECT_TRUE(rest_after(TarMaker{}.header({.name = "contiguous", .type = '7', .size = 3}).data("con")).whole);
  EXPECT_TRUE(
      rest_after(
          TarMaker{}.pax({{"uid", "1"}}).header({.name = "hard", .type = '1', .size = 3, .link = "x"}).data("lnk"))
          .whole);
  EXPECT_FALSE(rest_after(TarMaker{}.header({.name = "x", .wrong_checksum = true})).whole);
  EXPECT_FALSE(rest_after(TarMaker{}.raw_pax("9 a=b\n").file("x", "")).whole);
  EXPECT_FALSE(rest_after(TarMaker{}.header({.name = "x", .size_field = "9zzzzzzzzzz"})).whole);
}

/// After a pax header, a hard link's data belong to it, even if they look like members; else it has none.
TEST(TarReader, RemembersThatAnArchiveIsPax) {
  const std::string within = TarMaker{}.file("not a member", "").cut();
  const auto link_with_data = [&](TarMaker tar) {
    return read(tar.header({.name = "hard", .type = '1', .size = within.size(), .link = "a"}).data(within).whole(), 1);
  };
  EXPECT_EQ(link_with_data(TarMaker{}.file("a", "a")).lines.size(), 3u);
  EXPECT_EQ(link_with_data(TarMaker{}.pax({{"mtime", "1"}}).file("a", "a").file("b", "b")).lines.size(), 3u);
}

/// libarchive completes one member's version of a sparse map with what another said.
TEST(TarReader, RefusesHalfAVersionOfASparseMap) {
  const std::string content = "1\n512\n1\n" + std::string(503, '\0') + "x";
  TarMaker tar;
  tar.pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "513"}})
      .file("whole", content);
  tar.pax({{"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "513"}}).file("half", content);
  const std::string archive = tar.whole();
  EXPECT_TRUE(by_libarchive(archive).whole);
  test::TextInput input{archive};
  TarReader reader{input};
  const ReadMembers read = test::read_members(reader);
  EXPECT_EQ(read.lines.size(), 1u);
  EXPECT_NE(read.error.find("member half: half a version"), std::string::npos) << read.error;
}

/// A header with the right checksum is one, even where its first bytes are those of a compressed stream.
TEST(TarReader, TakesAnArchiveForOneWhateverItsFirstName) {
  const std::string name{"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0", 14};
  const std::string tar = TarMaker{}.file(name, "x").whole();
  test::TextInput input{tar};
  TarReader reader{input};
  EXPECT_TRUE(test::read_members(reader).whole);
  EXPECT_FALSE(by_libarchive(tar).whole);
}

TEST(TarReader, SaysWhereAHeaderIsDamaged) {
  const std::string tar =
      TarMaker{}.file("a", std::string(1500, 'a')).header({.name = "x", .wrong_checksum = true}).whole();
  test::TextInput input{tar};
  TarReader reader{input};
  const ReadMembers read = test::read_members(reader);
  EXPECT_EQ(read.lines.size(), 1u);
  EXPECT_NE(read.error.find("the header at byte 2048"), std::string::npos) << read.error;
}

TEST(TarReader, TellsACutArchiveFromAWholeOne) {
  const std::string tar =
      TarMaker{}.pax({{"mtime", "1.5"}}).file("a", std::string(1500, 'a')).symlink("b", "a").whole();
  for (std::size_t size = 0; size < tar.size() - 1024; size += 100) {
    test::TextInput input{tar.substr(0, size)};
    TarReader reader{input};
    EXPECT_FALSE(test::read_members(reader).whole) << size;
  }
  EXPECT_TRUE(read(tar, 0).whole);
}

TEST(TarReader, ReadsWhatPaxWriterWrites) {
  test::TextOutput out;
  PaxWriter writer{out};
  PaxMember member;
  member.mode = S_IFREG | 0640;
  for (const char* path : {"plain", "na\xc3\xafve", "\xff", "dir with spaces/x"}) {
    member.path = path;
    member.mtime = {1'700'000'000, 123'456'789};
    member.xattrs = {{"user.a=%b", "v"}, {"trusted.x", ""}};
    member.uid = 3'000'000'000;
    ASSERT_TRUE(writer.begin(member));
  }
  ASSERT_TRUE(writer.finish());
  EXPECT_EQ(read(out.text, 0).lines.size(), 4u);
}

}  // namespace
}  // namespace stellarium::fs
