#include "fs/pax_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <fstream>

#include "fs/archive_reader.h"
#include "support/image_store.h"
#include "support/temp_dir.h"

namespace stellarium::fs {
namespace {

using test::must;

struct Read {
  ArchiveMember member;
  std::string data;
};

/// What libarchive reads of an archive with this one member.
Read read_back(const PaxMember& member, const std::string& data = {}) {
  test::TextOutput out;
  PaxWriter writer{out};
  must(writer.begin(member));
  must(writer.data(as_bytes(data)));
  must(writer.finish());
  EXPECT_EQ(out.text.size() % kTarBlock, 0u);
  test::TextInput in{out.text};
  ArchiveReader reader{in};
  Read read{*must(reader.next()), {}};
  while (const auto block = must(reader.data())) {
    read.data.resize(static_cast<std::size_t>(block->offset), '\0');
    read.data += as_text(block->bytes);
  }
  read.data.resize(data.size(), '\0');
  EXPECT_FALSE(must(reader.next()).has_value());
  return read;
}

PaxMember file(const std::string& path, std::uint64_t size = 0) {
  PaxMember member;
  member.path = path;
  member.mode = S_IFREG | 0640;
  member.size = size;
  return member;
}

TEST(PaxWriter, TakesDataFromAFileAndFillsAShortOneWithZeros) {
  const test::TempDir dir;
  const std::string data(300'001, 'd');
  std::ofstream{dir / "data", std::ios::binary} << data;
  const UniqueFd fd{::open((dir / "data").c_str(), O_RDONLY | O_CLOEXEC)};
  for (const std::uint64_t size : {std::uint64_t{1}, std::uint64_t{300'001}, std::uint64_t{300'500}}) {
    test::TextOutput out;
    PaxWriter writer{out};
    must(writer.begin(file("before")));
    must(writer.begin(file("taken", size)));
    EXPECT_EQ(must(writer.file(fd.get())), size <= data.size());
    must(writer.begin(file("after")));
    must(writer.finish());
    test::TextInput in{out.text};
    ArchiveReader reader{in};
    EXPECT_EQ(must(reader.next())->path, "before");
    EXPECT_EQ(must(reader.next())->path, "taken");
    std::string taken;
    while (const auto block = must(reader.data())) taken += as_text(block->bytes);
    std::string wanted = data.substr(0, size);
    wanted.resize(size, '\0');
    EXPECT_TRUE(taken == wanted) << size;
    EXPECT_EQ(must(reader.next())->path, "after");
  }
}

TEST(PaxWriter, KeepsNamesOfEveryLengthAndEveryByte) {
  for (const std::string& path :
       {std::string{"a"}, std::string(100, 'n'), std::string(101, 'n'),
        std::string(200, 'd') + "/" + std::string(255, 'n'), std::string{"gr\xc3\xbc\xc3\x9f"},
        std::string{"caf\xe9\x01\xff"}, std::string{"new\nline = %25"}}) {
    EXPECT_EQ(read_back(file(path)).member.path, path);
    PaxMember link = file("link");
    link.mode = S_IFLNK | 0777;
    link.symlink = path;
    EXPECT_EQ(read_back(link).member.symlink, path);
    PaxMember hard = file("other");
    hard.hard_link = path;
    EXPECT_EQ(read_back(hard).member.hard_link, path);
  }
}

TEST(PaxWriter, KeepsOwnersSizesAndDevicesThatTheHeaderCannotHold) {
  PaxMember member = file("null");
  member.mode = S_IFCHR | 0666;
  member.rdev = makedev(4095, 1'048'575);
  member.uid = 4'294'967'294;
  member.gid = 2'097'152;
  const auto read = read_back(member).member;
  EXPECT_EQ(read.mode, member.mode);
  EXPECT_EQ(read.rdev, member.rdev);
  EXPECT_EQ(read.uid, 4'294'967'294);
  EXPECT_EQ(read.gid, 2'097'152);
}

TEST(PaxWriter, KeepsTimesBeforeAndAfter1970ToTheNanosecond) {
  for (const Timespec& time : {Timespec{0, 0}, Timespec{1'700'000'000, 123'456'789}, Timespec{-5, 250'000'000},
                               Timespec{-1, 0}, Timespec{10'000'000'000, 1}, Timespec{-3'000'000'000, 999'999'999}}) {
    PaxMember member = file("f");
    member.mtime = time;
    EXPECT_EQ(read_back(member).member.mtime, time) << time.seconds;
  }
}

TEST(PaxWriter, KeepsAttributesWhoseNamesAndValuesAreAnyBytes) {
  PaxMember member = file("f");
  member.xattrs = {{"user.a=b%c", std::string{"\0\n=\xff", 4}}, {"user.long", std::string(5000, 'v')}};
  Xattrs xattrs = read_back(member).member.xattrs;
  std::ranges::sort(xattrs);
  EXPECT_TRUE(xattrs == member.xattrs);
}

TEST(PaxWriter, KeepsDataOfEverySize) {
  for (const std::size_t size : {1u, 511u, 512u, 513u, 32'767u, 32'768u, 262'144u, 1'000'000u}) {
    std::string data(size, '\0');
    for (std::size_t at = 0; at < size; ++at) data[at] = static_cast<char>(at * 31 >> 3);
    EXPECT_EQ(read_back(file("f", size), data).data, data) << size;
  }
}

TEST(PaxWriter, LeavesHolesOut) {
  PaxMember member = file("sparse", 1 << 20);
  member.sparse = true;
  member.extents = {{4096, 4096}, {500'000, 10}};
  std::string data(1 << 20, '\0');
  data.replace(4096, 4096, 4096, 'a');
  data.replace(500'000, 10, "0123456789");
  test::TextOutput out;
  PaxWriter writer{out};
  must(writer.begin(member));
  must(writer.data(as_bytes(std::string_view{data}.substr(0, 5000))));
  must(writer.data(as_bytes(std::string_view{data}.substr(5000))));
  must(writer.finish());
  EXPECT_LT(out.text.size(), 16'384u);
  const Read read = read_back(member, data);
  EXPECT_EQ(read.member.path, "sparse");
  EXPECT_EQ(read.member.size, 1 << 20);
  EXPECT_EQ(read.data, data);
}

TEST(PaxWriter, KeepsAFileThatIsOneHole) {
  PaxMember member = file("hole", 1 << 20);
  member.sparse = true;
  const Read read = read_back(member, std::string(1 << 20, '\0'));
  EXPECT_EQ(read.member.size, 1 << 20);
}

TEST(PaxWriter, RefusesMoreDataThanAnnouncedAndNamesWithNul) {
  test::TextOutput out;
  PaxWriter writer{out};
  EXPECT_FALSE(writer.begin(file(std::string{"a\0b", 3})));
  must(writer.begin(file("f", 3)));
  EXPECT_FALSE(writer.data(as_bytes("four")));
  must(writer.data(as_bytes("abc")));
}

}  // namespace
}  // namespace stellarium::fs
