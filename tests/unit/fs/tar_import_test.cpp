#include "fs/tar_import.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <random>

#include "fs/layer_entry.h"
#include "fs/posix_acl.h"
#include "support/golden.h"
#include "support/image_store.h"
#include "support/tar_maker.h"

namespace stellarium::fs {
namespace {

using test::TarMaker;

std::string text_of(std::size_t size) {
  std::mt19937_64 random{size};
  std::string text(size, ' ');
  for (char& c : text) c = static_cast<char>('a' + random() % 26);
  return text;
}

class TarImportTest : public testing::Test {
 protected:
  ImportReport import(const std::string& tar) { return test::must(store_.import("image", tar)); }
  Inode stat(const std::string& path) const { return store_.stat("image", path); }
  std::string content(const std::string& path) const { return store_.content(stat(path)); }

  void expect_refused(const std::string& tar, const std::string& why) {
    const auto report = store_.import("image", tar);
    ASSERT_FALSE(report) << why;
    const std::string line = to_string(report.error());
    EXPECT_NE(line.find(why), std::string::npos) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    EXPECT_TRUE(test::must(store_.catalog->list()).empty());
    EXPECT_TRUE(std::filesystem::is_empty(store_.scratch()));
  }

  test::ImageStore store_;
};

TEST_F(TarImportTest, TakesEveryKindOfMember) {
  const std::string large = text_of(200'000);
  const auto report = import(TarMaker{}
                                 .directory("./", 0700)
                                 .directory("./dir/", 01777)
                                 .file("./dir/empty", "")
                                 .file("./dir/small", "small")
                                 .file("./dir/large", large, 04755)
                                 .file("./lib.so",
                                       "\x7f"
                                       "ELF" +
                                           large)
                                 .symlink("./sym", "../../outside is fine for a symlink")
                                 .link("./hard", "./dir/large")
                                 .header({.name = "fifo", .type = '6'})
                                 .header({.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3})
                                 .header({.name = "zero", .type = '4', .mode = 0600, .major = 0, .minor = 0})
                                 .whole());
  EXPECT_EQ(report.image.files, 10u);
  EXPECT_EQ(stat("").mode, std::uint32_t{S_IFDIR | 0700});
  EXPECT_EQ(stat("dir").mode, std::uint32_t{S_IFDIR | 01777});
  EXPECT_EQ(stat("dir/empty").body, Body::none);
  EXPECT_EQ(stat("dir/small").body, Body::inline_);
  EXPECT_EQ(content("dir/small"), "small");
  EXPECT_EQ(content("dir/large"), large);
  EXPECT_TRUE(stat("dir/large").program);
  EXPECT_EQ(stat("dir/large").uid, 1000u);
  EXPECT_EQ(stat("dir/large").mtime, (Timespec{1'700'000'000, 0}));
  EXPECT_EQ(stat("dir/large").nlink, 2u);
  EXPECT_TRUE(stat("lib.so").program);
  EXPECT_FALSE(stat("dir/small").program);
  EXPECT_EQ(stat("sym").inline_bytes, "../../outside is fine for a symlink");
  EXPECT_EQ(stat("hard"), stat("dir/large"));
  EXPECT_EQ(stat("fifo").mode & S_IFMT, std::uint32_t{S_IFIFO});
  EXPECT_EQ(stat("null").rdev, makedev(1, 3));
  EXPECT_EQ(stat("zero").mode & S_IFMT, std::uint32_t{S_IFBLK});
  EXPECT_EQ(store_.notes.contents.at("dir/large"), cas::hash_of(as_bytes(large)));
}

TEST_F(TarImportTest, KeepsNamesAsTheBytesTheyAre) {
  const std::string composed = "caf\xc3\xa9", decomposed = "cafe\xcc\x81", invalid = "bad\xff\xfe", longest(255, 'n');
  import(TarMaker{}
             .pax(
                 {{ "path",
                    composed }})
             .file("x", "1")
             .pax(
                 {{ "path",
                    decomposed }})
             .file("x", "2")
             .pax(
                 {{ "path",
                    invalid }})
             .file("x", "3")
             .pax(
                 {{ "path",
                    longest }})
             .file("x", "4")
             .pax({{"path", "l"},
                   { "linkpath",
                     decomposed }})
             .link("x", "x")
             .file(invalid + "-ustar", "5")
             .whole());
  EXPECT_EQ(content(composed), "1");
  EXPECT_EQ(content(decomposed), "2");
  EXPECT_EQ(content(invalid), "3");
  EXPECT_EQ(content(longest), "4");
  EXPECT_EQ(content("l"), "2");
  EXPECT_EQ(content(invalid + "-ustar"), "5");
}

TEST_F(TarImportTest, KeepsTimesToTheNanosecondAlsoBefore1970) {
  import(TarMaker{}
             .pax({{"mtime", "1700000000.123456789"},
                   {"atime", "5"},
                   {"ctime", "6.5"},
                   { "LIBARCHIVE.creationtime",
                     "7" }})
             .file("f", "x")
             .pax(
                 {{ "mtime",
                    "-1.25" }})
             .file("old", "x")
             .whole());
  EXPECT_EQ(stat("f").mtime, (Timespec{1'700'000'000, 123'456'789}));
  EXPECT_EQ(stat("f").atime, (Timespec{5, 0}));
  EXPECT_EQ(stat("f").ctime, (Timespec{6, 500'000'000}));
  EXPECT_EQ(stat("f").btime, (Timespec{7, 0}));
  EXPECT_EQ(stat("old").mtime, (Timespec{-2, 750'000'000}));
}

TEST_F(TarImportTest, KeepsXattrsAndCapabilitiesRaw) {
  const std::string capability{"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20};
  import(TarMaker{}
             .pax({{"SCHILY.xattr.security.capability", capability},
                   { "SCHILY.xattr.user.empty",
                     "" }})
             .file("f", "x")
             .whole());
  const auto found = test::must(store_.reader("image").resolve("f", false));
  EXPECT_TRUE(found.inode.has_xattrs);
  EXPECT_EQ(test::must(store_.reader("image").xattrs(found.ino)),
            (Xattrs{{"security.capability", capability}, {"user.empty", ""}}));
}

TEST_F(TarImportTest, TurnsAclTextIntoTheKernelsFormAndTheModeIntoWhatStatShows) {
  import(TarMaker{}
             .pax(
                 {{ "SCHILY.acl.access",
                    "user::rw-,user:1234:rwx,group::r--,mask::rwx,other::---" }})
             .file("f", "x", 0670)
             .pax(
                 {{ "SCHILY.acl.default",
                    "user::rwx,user:1234:rwx,group::r-x,mask::rwx,other::r-x" }})
             .directory("d")
             .whole());
  const auto file = test::must(store_.reader("image").resolve("f", false));
  EXPECT_EQ(file.inode.mode, std::uint32_t{S_IFREG | 0670});
  EXPECT_EQ(
      test::must(store_.reader("image").xattrs(file.ino)),
      (Xattrs{{std::string{kAclAccess}, *acl_from_text("user::rw-,user:1234:rwx,group::r--,mask::rwx,other::---")}}));
  const auto directory = test::must(store_.reader("image").resolve("d", false));
  EXPECT_EQ(directory.inode.mode, std::uint32_t{S_IFDIR | 0755});
  EXPECT_EQ(test::must(store_.reader("image").xattrs(directory.ino)).front().first, kAclDefault);
}

TEST_F(TarImportTest, HolesOfASparseMemberCostNothing) {
  // GNU sparse 1.0: the map stands before the data.
  std::string map = "1\n536870912\n4\n";
  map.resize(512, '\0');
  import(TarMaker{}
             .pax({{"GNU.sparse.major", "1"},
                   {"GNU.sparse.minor", "0"},
                   {"GNU.sparse.name", "sparse"},
                   { "GNU.sparse.realsize",
                     "1073741824" }})
             .header({.name = "x", .size = 516})
             .data(map + "data")
             .whole());
  EXPECT_EQ(stat("sparse").size, 1'073'741'824u);
  EXPECT_EQ(stat("sparse").allocated, 4u);
}

TEST_F(TarImportTest, AMemberMayNameItsContentInsteadOfCarryingIt) {
  const std::string data = text_of(100'000);
  const ImportReport first = import(TarMaker{}.file("f", data, 0755).whole());
  const std::string id = store_.notes.contents.at("f").hex();
  const ImportReport second = import(TarMaker{}
                                         .pax({{"SCHILY.xattr.stellarium.content", id + " 100000 100000 0"}})
                                         .header({.name = "f", .mode = 0755})
                                         .whole());
  EXPECT_EQ(first.image.manifest, second.image.manifest);
  EXPECT_EQ(content("f"), data);
  EXPECT_FALSE(stat("f").has_xattrs);
  const auto unknown =
      store_.import("image", TarMaker{}
                                 .pax({{"SCHILY.xattr.stellarium.content", std::string(64, 'a') + " 100000 100000 0"}})
                                 .file("f", "")
                                 .whole());
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::unavailable);
}

TEST_F(TarImportTest, AContentReferenceThatIsNotOneIsRefused) {
  const std::string id(64, 'a');
  for (const std::string& value :
       {std::string{}, id, id + " 100", id + " 100 100 2", id + " 100 101 0", id + " 64 64 0", id + " 0100 100 0",
        id + " 100 100 0 ", id + " -1 0 0", std::string(64, 'A') + " 100 100 0"}) {
    expect_refused(TarMaker{}.pax({{"SCHILY.xattr.stellarium.content", value}}).file("f", "").whole(),
                   "malformed attribute stellarium.content");
  }
  expect_refused(TarMaker{}.pax({{"SCHILY.xattr.stellarium.content", id + " 100 100 0"}}).file("f", "data").whole(),
                 "reserved for regular files without data");
  expect_refused(TarMaker{}.pax({{"SCHILY.xattr.stellarium.content", id + " 100 100 0"}}).directory("d").whole(),
                 "reserved for regular files without data");
}

TEST_F(TarImportTest, MembersThatLeaveTheTreeAreRefused) {
  expect_refused(TarMaker{}.file("../evil", "x").whole(), "member ../evil: the path leaves the tree");
  expect_refused(TarMaker{}.file("a/../../evil", "x").whole(), "the path leaves the tree");
  expect_refused(TarMaker{}.file("/etc/passwd", "x").whole(), "member /etc/passwd: the path is absolute");
  expect_refused(TarMaker{}.link("l", "../outside").whole(), "a hard link to ../outside: the path leaves the tree");
  expect_refused(TarMaker{}.link("l", "/etc/passwd").whole(), "the path is absolute");
  expect_refused(TarMaker{}.symlink("s", "/etc").file("s/passwd", "x").whole(),
                 "s: a symlink where other members need a directory");
  expect_refused(TarMaker{}.pax({{"path", std::string(256, 'n')}}).file("x", "").whole(), "a name of 256 bytes");
  expect_refused(TarMaker{}.pax({{"path", std::string(500'000, 'n')}}).file("x", "").whole(),
                 "the path is 500000 bytes long");
}

TEST_F(TarImportTest, MalformedArchivesAreRefused) {
  expect_refused("", "nrecognized archive format");
  expect_refused("this is no archive at all, only some text", "nrecognized archive format");
  expect_refused(
      TarMaker{}.header({.name = "f", .size_field = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}).whole(), "");
  expect_refused(
      TarMaker{}.header({.name = "f", .size_field = "\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}).whole(), "");
  expect_refused(TarMaker{}.file("a", "x").header({.name = "f", .wrong_checksum = true}).whole(),
                 "Damaged tar archive");
  expect_refused(TarMaker{}.raw_pax("0 path=x\n").file("f", "x").whole(), "f: malformed pax extended attribute");
  expect_refused(TarMaker{}.raw_pax("-5 path=x\n").file("f", "x").whole(), "");
  expect_refused(TarMaker{}.raw_pax("999999 path=x\n").file("f", "x").whole(), "");
  expect_refused(TarMaker{}.raw_pax("9 pathxx\n").file("f", "x").whole(), "");
  expect_refused(TarMaker{}.pax({{"SCHILY.xattr.system.posix_acl_access", "garbage"}}).file("f", "x").whole(),
                 "f: system.posix_acl_access: ACL of 7 bytes");
}

TEST_F(TarImportTest, ChainsOfHeadersAndMembersThatAreNoFilesAreRefused) {
  TarMaker long_names, attributes;
  for (int i = 0; i < 10'000; ++i) {
    long_names.header({.name = "././@LongLink", .type = 'L', .size = 2}).data(std::string_view{"a\0", 2});
    attributes.pax({{"path", "a"}});
  }
  expect_refused(long_names.file("f", "x").whole(), "Too many special headers");
  expect_refused(attributes.file("f", "x").whole(), "");
  expect_refused(TarMaker{}.header({.name = "m", .type = 'M', .size = 3}).data("abc").whole(),
                 "member m: a file type that does not exist");
  expect_refused(TarMaker{}.symlink("s", "").whole(), "member s: a symlink whose target has 0 bytes");
  expect_refused(TarMaker{}.pax({{"uid", "-1"}}).file("f", "x").whole(), "member f: the owner -1 is out of range");
  expect_refused(TarMaker{}.pax({{"size", "9223372036854775807"}}).file("f", "x").whole(),
                 "Tar size attribute overflow");
}

TEST_F(TarImportTest, AHardLinkToASymlinkIsOneMoreNameOfIt) {
  import(TarMaker{}.symlink("s", "target").link("h", "s").whole());
  EXPECT_EQ(stat("h").inline_bytes, "target");
  EXPECT_EQ(stat("s").nlink, 2u);
}

TEST_F(TarImportTest, SparseMapsThatLieAreRefused) {
  const auto sparse = [](std::string map, const std::string& realsize) {
    map.resize((map.size() + 511) / 512 * 512, '\0');
    return TarMaker{}
        .pax({{"GNU.sparse.major", "1"},
              {"GNU.sparse.minor", "0"},
              {"GNU.sparse.name", "sparse"},
              {"GNU.sparse.realsize", realsize}})
        .header({.name = "x", .size = map.size() + 8})
        .data(map + "datadata")
        .whole();
  };
  expect_refused(sparse("2\n100\n4\n50\n4\n", "1000"), "");
  expect_refused(sparse("1\n998\n8\n", "1000"), "more data than its size says");
  expect_refused(sparse("1\n9223372036854775800\n8\n", "1000"), "");
  expect_refused(sparse("1000000000\n1\n1\n", "1000"), "");
}

TEST_F(TarImportTest, AnArchiveCutAtAnyBlockIsRefused) {
  const std::string whole =
      TarMaker{}.directory("d").pax({{"mtime", "1.5"}}).file("d/f", text_of(2000)).link("l", "d/f").cut();
  for (std::size_t size = 512; size <= whole.size(); size += 512) {
    const auto report = store_.import("image", whole.substr(0, size));
    EXPECT_FALSE(report) << size;
  }
  EXPECT_TRUE(store_.import("image", whole + std::string(512, '\0'))) << "one block of zeros is an end mark";
}

TEST_F(TarImportTest, TheLastOfSeveralMembersOfOnePathWins) {
  import(TarMaker{}.file("f", "old").file("f", "new").whole());
  EXPECT_EQ(content("f"), "new");
}

TEST_F(TarImportTest, DataBesideTheLastOfSeveralLinksBelongsToAllOfThem) {
  import(TarMaker{}
             .file("a", "")
             .pax(
                 {{ "mtime",
                    "1" }})
             .header({.name = "b", .type = '1', .size = 4, .link = "a"})
             .data("data")
             .whole());
  EXPECT_EQ(stat("a").nlink, 2u);
  EXPECT_EQ(content("a"), "data");
}

TEST_F(TarImportTest, WhatIsCancelledLeavesNothing) {
  struct Stops : ImportObserver {
    bool progress(std::uint64_t, std::uint64_t files) override { return files < 2; }
  } stops;
  test::TextInput input{TarMaker{}.file("a", "x").file("b", "x").whole()};
  const auto report = import_tar(*store_.database, *store_.contents, *store_.catalog, store_.scratch(), input,
                                 ImageName{"image"}, "", stops);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::cancelled);
  EXPECT_TRUE(test::must(store_.catalog->list()).empty());
}

TEST_F(TarImportTest, GivesTheSameManifestWhateverTheStoreHeldBefore) {
  const std::string tar =
      TarMaker{}.directory("d").file("d/a", text_of(300'000)).file("d/b", text_of(70)).symlink("s", "d").whole();
  const auto first = import(tar).image.manifest;
  import(TarMaker{}.file("other", text_of(300'000) + "tail").whole());
  EXPECT_EQ(import(tar).image.manifest, first);
  test::ImageStore elsewhere;
  EXPECT_EQ(test::must(elsewhere.import("x", tar)).image.manifest, first);
}

TEST_F(TarImportTest, ATreeThatIsKnownIsNotSealedAgainWhateverTheOrderOfItsMembers) {
  const auto first = import(TarMaker{}.directory("d").file("d/a", text_of(300'000)).file("e", "x").whole()).image;
  EXPECT_EQ(import(TarMaker{}.file("e", "x").directory("d").file("d/a", text_of(300'000)).whole()).image.layer,
            first.layer);
  EXPECT_NE(import(TarMaker{}.file("e", "y").directory("d").file("d/a", text_of(300'000)).whole()).image.layer,
            first.layer);
}

TEST_F(TarImportTest, TheStreamOfVersionOneGivesTheManifestOfVersionOne) {
  const std::string made =
      TarMaker{}
          .directory("./")
          .directory("./bin")
          .pax({{"path", "./bin/caf\xc3\xa9"}, {"mtime", "1700000000.5"}, {"SCHILY.xattr.user.note", "hello"}})
          .file("x", text_of(1000), 0755)
          .link("./hard", "./bin/caf\xc3\xa9")
          .symlink("./sh", "bin/dash")
          .header({.name = "./null", .type = '3', .mode = 0666, .major = 1, .minor = 3})
          .whole();
  const std::string stream = test::golden_or_write("import-stream-v1.tar", made);
  EXPECT_EQ(import(stream).image.manifest.hex(), "0ec8edf2b89c4a0f754b8446b04566ae008e9ae960dfeeca9747f67d9b064478");
}

TEST_F(TarImportTest, AnEmptyArchiveIsAnEmptyTree) {
  EXPECT_EQ(import(std::string(1024, '\0')).image.files, 1u);
  EXPECT_EQ(stat("").mode, std::uint32_t{S_IFDIR | 0755});
}

}  // namespace
}  // namespace stellarium::fs
