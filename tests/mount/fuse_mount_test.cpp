#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <set>

#include "fuse_mount.h"
#include "support/sanitized.h"

// Real mounts in this process: what programs see, and how many requests it takes.
namespace stellarium::fs::fuse {
namespace {

using test::slurp;

class FuseMountTest : public testing::TestWithParam<bool> {
 protected:
  FuseMountTest() {
    image_.begin();
    etc_ = image_.add_directory(kRootIno, "etc");
    image_.add_file(etc_, "hosts", kSmall);
    program_ = image_.add_file(kRootIno, "program", program_bytes_, true);
    image_.add_file(kRootIno, "data", data_bytes_);
    image_.add_file(kRootIno, "large", large_bytes_);
    image_.add_file(kRootIno, "empty", "");
    image_.add(kRootIno, "link", test::make_symlink("etc/hosts"));
    image_.publish("debian");
  }

  void start(const ViewSpec& view = test::image_spec()) {
    const FuseServer::Backing backing{*image_.database, image_.catalog, *image_.contents, image_.tier};
    auto made = FuseServer::create(backing, {.workers = 2, .passthrough = GetParam()});
    ASSERT_TRUE(made) << to_string(made.error());
    server_ = std::move(*made);
    const auto attached =
        server_->attach({1, mount_.path(), view}, test::duplicate(mount_.device), test::duplicate(mount_.table), false);
    ASSERT_TRUE(attached) << to_string(attached.error());
  }
  std::uint64_t count(const std::string& opcode) const {
    const FuseServer::MountStats stats = server_->stats().at(0);
    for (const auto& [name, count] : stats.by_opcode) {
      if (name == opcode) return count;
    }
    return 0;
  }
  std::uint64_t requests() const { return server_->stats().at(0).requests; }

  static constexpr const char* kSmall = "127.0.0.1 localhost\n";
  const std::string program_bytes_ = test::random_text(1, 300'000);
  const std::string data_bytes_ = test::random_text(2, 100'000);
  const std::string large_bytes_ = test::random_text(3, 6'000'000);
  test::TempDir dir_;
  test::FuseImage image_{dir_.path(), /*private_mount=*/true};
  test::MountPoint mount_{dir_ / "mnt"};
  std::unique_ptr<FuseServer> server_;
  Ino etc_ = 0, program_ = 0;
};

INSTANTIATE_TEST_SUITE_P(WithAndWithoutPassthrough, FuseMountTest, testing::Bool(),
                         [](const auto& suite) { return suite.param ? "passthrough" : "cached"; });

TEST_P(FuseMountTest, ShowsFilesOfEverySizeUnchanged) {
  start();
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_EQ(slurp(mount_ / "etc/hosts"), kSmall);
    EXPECT_EQ(slurp(mount_ / "link"), kSmall);
    EXPECT_EQ(slurp(mount_ / "program"), program_bytes_);
    EXPECT_EQ(slurp(mount_ / "data"), data_bytes_);
    EXPECT_EQ(slurp(mount_ / "large"), large_bytes_);
    EXPECT_EQ(slurp(mount_ / "empty"), "");
  }
  EXPECT_EQ(server_->stats().at(0).passthrough, GetParam());
}

TEST_P(FuseMountTest, ShowsEveryFieldOfStat) {
  Inode inode;
  inode.mode = S_IFBLK | 0640;
  inode.uid = 4'000'000'000;
  inode.gid = 6;
  inode.nlink = 3;
  inode.rdev = makedev(259, 70'000);
  inode.atime = {-5, 1};
  inode.mtime = {4'000'000'000, 999'999'999};
  inode.ctime = {3, 4};
  inode.btime = {7, 8};
  image_.add(kRootIno, "device", inode);
  start();
  struct statx seen {};
  ASSERT_EQ(::statx(AT_FDCWD, (mount_ / "device").c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &seen), 0);
  EXPECT_EQ(seen.stx_mode, inode.mode);
  EXPECT_EQ(seen.stx_uid, inode.uid);
  EXPECT_EQ(seen.stx_gid, inode.gid);
  EXPECT_EQ(seen.stx_nlink, inode.nlink);
  EXPECT_EQ(makedev(seen.stx_rdev_major, seen.stx_rdev_minor), inode.rdev);
  EXPECT_EQ(seen.stx_atime.tv_sec, -5);
  EXPECT_EQ(seen.stx_mtime.tv_sec, 4'000'000'000);
  EXPECT_EQ(seen.stx_mtime.tv_nsec, 999'999'999u);
  EXPECT_EQ(seen.stx_ctime.tv_nsec, 4u);
  EXPECT_NE(seen.stx_mask & STATX_BTIME, 0u);
  EXPECT_EQ(seen.stx_btime.tv_sec, 7);
  struct stat root {};
  ASSERT_EQ(::stat(mount_.path().c_str(), &root), 0);
  EXPECT_EQ(root.st_ino, kRootIno);
}

TEST_P(FuseMountTest, ListsAHundredThousandEntriesAndResumesAtEveryOffset) {
  constexpr int kEntries = test::kSanitized ? 10'000 : 100'000;
  const Ino many = image_.add_directory(kRootIno, "many");
  std::set<std::string> expected{".", ".."};
  for (int i = 0; i < kEntries; ++i) {
    const std::string name = "entry-" + std::to_string(i);
    image_.add_file(many, name, "");
    expected.insert(name);
  }
  start();
  std::set<std::string> seen;
  std::vector<std::pair<long, std::string>> resume;
  DIR* dir = ::opendir((mount_ / "many").c_str());
  ASSERT_NE(dir, nullptr);
  while (const dirent* entry = ::readdir(dir)) {
    EXPECT_TRUE(seen.insert(entry->d_name).second) << entry->d_name;
    resume.emplace_back(entry->d_off, entry->d_name);
  }
  EXPECT_EQ(seen, expected);
  for (std::size_t i = 0; i + 1 < resume.size(); i += kEntries / 10 - 27) {
    ::seekdir(dir, resume[i].first);
    const dirent* next = ::readdir(dir);
    ASSERT_NE(next, nullptr);
    EXPECT_EQ(next->d_name, resume[i + 1].second);
  }
  ::closedir(dir);
}

TEST_P(FuseMountTest, WarmListingsTakeNoRequest) {
  for (int i = 0; i < 200; ++i) image_.add_file(etc_, "file" + std::to_string(i), "x");
  start();
  const auto walk = [this] {
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator{mount_.path()}) {
      struct stat status {};
      files += ::lstat(entry.path().c_str(), &status) == 0 ? 1 : 0;
    }
    return files;
  };
  const std::size_t files = walk();
  const std::uint64_t before = requests();
  EXPECT_EQ(walk(), files);
  EXPECT_EQ(requests(), before);
  EXPECT_FALSE(std::filesystem::exists(mount_ / "missing"));
  const std::uint64_t after_miss = requests();
  EXPECT_FALSE(std::filesystem::exists(mount_ / "missing"));
  EXPECT_EQ(requests(), after_miss);
}

TEST_P(FuseMountTest, AWarmOpenTakesOneRequestAndARelease) {
  start();
  for (const char* name : {"etc/hosts", "program", "data", "large"}) slurp(mount_ / name);
  for (const char* name : {"etc/hosts", "program", "data"}) {
    while (server_->stats().at(0).open_handles != 0) ::sched_yield();
    const std::uint64_t before = requests(), opens = count("OPEN"), releases = count("RELEASE");
    slurp(mount_ / name);
    while (GetParam() && count("RELEASE") == releases) ::sched_yield();
    EXPECT_EQ(count("OPEN") - opens, GetParam() ? 1u : 0u) << name;
    EXPECT_EQ(requests() - before, GetParam() ? 2u : 0u) << name;
  }
}

TEST_P(FuseMountTest, AFirstOpenOfASmallFileBringsItsBytes) {
  start();
  EXPECT_EQ(slurp(mount_ / "etc/hosts"), kSmall);
  EXPECT_EQ(count("READ"), GetParam() ? 0u : 1u);  // without passthrough nothing is opened
  const UniqueFd file{::open((mount_ / "etc/hosts").c_str(), O_RDONLY | O_CLOEXEC)};
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  EXPECT_EQ(slurp(mount_ / "etc/hosts"), kSmall);
  EXPECT_EQ(count("READ"), GetParam() ? 1u : 2u);
}

TEST_P(FuseMountTest, GivesExtendedAttributesAndIntrospection) {
  Inode inode = test::make_file("with attributes");
  image_.tier.add("with attributes");
  inode.has_xattrs = true;
  const Ino ino = image_.add(kRootIno, "attributed", inode);
  image_.set_xattr(ino, "user.one", "1");
  image_.set_xattr(ino, "security.capability", std::string("\1\0\0\2", 4));
  start();
  const std::string path = mount_ / "attributed";
  char value[256];
  EXPECT_EQ(::getxattr(path.c_str(), "user.one", value, sizeof value), 1);
  EXPECT_EQ(value[0], '1');
  EXPECT_EQ(::getxattr(path.c_str(), "user.one", nullptr, 0), 1);
  EXPECT_EQ(::getxattr(path.c_str(), "user.none", value, sizeof value), -1);
  EXPECT_EQ(errno, ENODATA);
  const ssize_t listed = ::listxattr(path.c_str(), value, sizeof value);
  ASSERT_GT(listed, 0);
  EXPECT_EQ(std::string(value, static_cast<std::size_t>(listed)), std::string("security.capability\0user.one\0", 29));
  const ssize_t id = ::getxattr(path.c_str(), "user.stellarium.content", value, sizeof value);
  ASSERT_EQ(id, 64);
  EXPECT_EQ(std::string(value, 64), inode.content.hex());
  EXPECT_EQ(::setxattr(path.c_str(), "user.two", "2", 1, 0), -1);
  EXPECT_EQ(errno, EROFS);
}

TEST_P(FuseMountTest, FindsHolesOfSparseFiles) {
  const std::string head = test::random_text(9, 200'000);
  image_.add_sparse_file(kRootIno, "sparse", head, 10u << 20);
  start();
  const UniqueFd file{::open((mount_ / "sparse").c_str(), O_RDONLY)};
  ASSERT_TRUE(file);
  const off_t hole = ::lseek(file.get(), 0, SEEK_HOLE);
  EXPECT_GE(hole, static_cast<off_t>(head.size()));
  EXPECT_LT(hole, static_cast<off_t>(head.size()) + (128 << 10));
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_DATA), 0);
  EXPECT_EQ(::lseek(file.get(), hole, SEEK_DATA), -1);
  EXPECT_EQ(errno, ENXIO);
  struct stat status {};
  ::fstat(file.get(), &status);
  EXPECT_LT(status.st_blocks * 512, 300'000);
}

TEST_P(FuseMountTest, RefusesEveryChange) {
  start();
  EXPECT_EQ(::open((mount_ / "data").c_str(), O_RDWR), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::mkdir((mount_ / "new").c_str(), 0755), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::unlink((mount_ / "data").c_str()), -1);
  EXPECT_EQ(errno, EROFS);
}

TEST_P(FuseMountTest, RefusesEveryChangeOnAMountThatIsNotReadOnlyToo) {
  (void)fs::fuse::unmount(mount_.path(), true);
  mount_ = test::MountPoint{dir_ / "rw", {.read_only = false}};
  start();
  EXPECT_EQ(::open((mount_ / "data").c_str(), O_RDWR), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::open((mount_ / "program").c_str(), O_RDONLY | O_TRUNC), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::mkdir((mount_ / "new").c_str(), 0755), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::chmod((mount_ / "data").c_str(), 0600), -1);
  EXPECT_EQ(errno, EROFS);
}

TEST_P(FuseMountTest, MappedFilesShowTheirBytes) {
  start();
  for (const auto& [name, expected] : {std::pair{"program", program_bytes_}, {"large", large_bytes_}}) {
    const UniqueFd file{::open((mount_ / name).c_str(), O_RDONLY)};
    void* at = ::mmap(nullptr, expected.size(), PROT_READ, MAP_SHARED, file.get(), 0);
    ASSERT_NE(at, MAP_FAILED);
    EXPECT_EQ(std::memcmp(at, expected.data(), expected.size()), 0);
    ::munmap(at, expected.size());
  }
}

TEST_P(FuseMountTest, UnmountingEndsTheService) {
  std::promise<std::uint64_t> gone;
  start();
  server_->set_on_detached([&gone](std::uint64_t id) { gone.set_value(id); });
  ASSERT_TRUE(fs::fuse::unmount(mount_.path(), false));
  EXPECT_EQ(gone.get_future().get(), 1u);
  EXPECT_TRUE(server_->stats().empty());
  const auto again = fs::fuse::unmount(mount_.path(), false);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::invalid_argument);
}

TEST_P(FuseMountTest, ABusyMountSaysWhoHoldsIt) {
  start();
  const UniqueFd held{::open((mount_ / "data").c_str(), O_RDONLY)};
  const auto busy = fs::fuse::unmount(mount_.path(), false);
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().code, Errc::busy);
  EXPECT_NE(busy.error().context.find("(" + std::to_string(::getpid()) + ")"), std::string::npos)
      << busy.error().context;
}

TEST_P(FuseMountTest, NoHandleIsLeftWhenAllFilesAreClosed) {
  start();
  std::vector<UniqueFd> files;
  for (int i = 0; i < 3'000; ++i)
    files.emplace_back(::open((mount_ / (i % 2 == 0 ? "program" : "large")).c_str(), O_RDONLY));
  EXPECT_EQ(server_->stats().at(0).open_handles, GetParam() ? 3'000u : 0u);
  files.clear();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (server_->stats().at(0).open_handles != 0 && std::chrono::steady_clock::now() < deadline) ::sched_yield();
  EXPECT_EQ(server_->stats().at(0).open_handles, 0u);
}

TEST_P(FuseMountTest, TheWholeStoreShowsImagesByNameAndTag) {
  image_.publish("debian", "12", test::FuseImage::kTree + 1);
  start(test::store_spec());
  EXPECT_EQ(slurp(mount_ / "images/debian/latest/etc/hosts"), kSmall);
  EXPECT_EQ(slurp(mount_ / "images/debian/12/program"), program_bytes_);
  std::set<std::string> tags;
  for (const auto& entry : std::filesystem::directory_iterator{mount_ / "images/debian"})
    tags.insert(entry.path().filename());
  EXPECT_EQ(tags, (std::set<std::string>{"12", "latest"}));
  struct stat one {
  }, other{};
  ASSERT_EQ(::stat((mount_ / "images/debian/latest/data").c_str(), &one), 0);
  ASSERT_EQ(::stat((mount_ / "images/debian/12/data").c_str(), &other), 0);
  EXPECT_NE(one.st_ino, other.st_ino);

  EXPECT_FALSE(std::filesystem::exists(mount_ / "images/later"));
  image_.publish("later");
  EXPECT_TRUE(std::filesystem::exists(mount_ / "images/later/latest/etc"));
  ASSERT_TRUE(image_.catalog.remove({"later", "latest"}));
  EXPECT_FALSE(std::filesystem::exists(mount_ / "images/later"));
}

}  // namespace
}  // namespace stellarium::fs::fuse
