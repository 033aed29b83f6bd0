#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <future>

#include "fs/fuse/dev_fuse_workers.h"
#include "fuse_mount.h"

// What passthrough must never do (change a hot file) and what it is for (one copy in memory for all mounts).
namespace stellarium::fs::fuse {
namespace {

/// A file system that is wrong on purpose: its only file may be written, and every open is passed through.
class WrongFilesystem final : public Filesystem {
 public:
  WrongFilesystem(BackingPort& port, tier::HotFilePtr hot) : port_{port}, hot_{std::move(hot)} {}
  std::uint64_t features() const override { return abi::feature::kPassthrough; }
  void started(std::uint64_t, bool) override {}
  void lookup(const Request&, std::string_view, Reply reply) override {
    abi::EntryOut out{};
    out.nodeid = 2;
    out.attr = file();
    reply.value(out);
  }
  void getattr(const Request& request, Reply reply) override {
    abi::AttrOut out{};
    out.attr = file();
    if (request.node() == NodeId::root()) out.attr.mode = S_IFDIR | 0777;
    reply.value(out);
  }
  void open(const Request&, const abi::OpenIn&, Reply reply) override {
    if (id_ == 0) {
      const auto made = port_.open(hot_->fd());
      if (!made) {
        reply.error(ENXIO);
        return;
      }
      id_ = static_cast<std::int32_t>(*made);
    }
    reply.value(abi::OpenOut{.fh = 0, .open_flags = abi::open_flag::kPassthrough, .backing_id = id_});
  }
  void statx(const Request&, Reply reply) override { reply.error(ENOSYS); }
  void readlink(const Request&, Reply reply) override { reply.error(EINVAL); }
  void read(const Request&, const abi::ReadIn&, Reply reply) override { reply.error(EIO); }
  void lseek(const Request&, const abi::LseekIn&, Reply reply) override { reply.error(ENOSYS); }
  void release(const Request&, const abi::ReleaseIn&, Reply reply) override { reply.done(); }
  void opendir(const Request&, Reply reply) override { reply.value(abi::OpenOut{}); }
  void readdir(const Request&, const abi::ReadIn&, bool, Reply reply) override { reply.done(); }
  void getxattr(const Request&, std::string_view, std::uint32_t, Reply reply) override { reply.error(ENODATA); }
  void listxattr(const Request&, std::uint32_t, Reply reply) override { reply.error(ENOSYS); }
  void statfs(const Request&, Reply reply) override { reply.value(abi::StatfsOut{}); }

 private:
  abi::Attr file() const {
    abi::Attr attr{};
    attr.mode = S_IFREG | 0777;
    attr.nlink = 1;
    attr.size = hot_->content().size;
    return attr;
  }
  BackingPort& port_;
  tier::HotFilePtr hot_;
  std::int32_t id_ = 0;
};

TEST(HotFile, CannotBeChangedThroughAWrongReply) {
  const test::TempDir dir;
  test::FakeTier tier{dir.path(), /*private_mount=*/true};
  const std::string bytes = test::random_text(1, 100'000);
  const auto content = tier.add(bytes);
  tier::HotFilePtr hot;
  tier.make_hot(content, [&hot](Result<tier::HotFilePtr> filled) { hot = *filled; });
  test::MountPoint mount{dir / "mnt", {.read_only = false}};
  const auto connection = std::make_shared<DevFuseConnection>(test::duplicate(mount.device));
  connection->set_session(std::make_unique<Session>(std::make_unique<WrongFilesystem>(*connection, hot)));
  auto workers = DevFuseWorkers::start(1, [](std::uint64_t) {});
  ASSERT_TRUE(workers);
  ASSERT_TRUE((*workers)->add(1, connection));

  const std::string path = mount / "file";
  EXPECT_EQ(test::slurp(path), bytes) << "reading is what the hot file is for";
  for (const int flags : {O_RDWR, O_WRONLY, O_RDWR | O_APPEND}) {
    EXPECT_EQ(::open(path.c_str(), flags | O_CLOEXEC), -1) << flags;
    EXPECT_EQ(errno, EIO) << flags;
  }
  const UniqueFd reading{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reading.get(), 0), MAP_FAILED);
  EXPECT_EQ(test::slurp(tier.hot_path(content.id)), bytes);
}

/// Physical page of an address; 0 if /proc does not tell.
std::uint64_t page_frame(const void* address) {
  const UniqueFd map{::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)};
  std::uint64_t entry = 0;
  const auto at = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(address) / 4096 * sizeof entry);
  if (::pread(map.get(), &entry, sizeof entry, at) != static_cast<ssize_t>(sizeof entry)) return 0;
  return entry & ((1ull << 55) - 1);
}

TEST(HotFile, IsOneCopyInMemoryForAllMounts) {
  const test::TempDir dir;
  test::FuseImage image{dir.path(), /*private_mount=*/true};
  image.begin();
  const std::string bytes = test::random_text(2, 64 * 4096);
  image.add_file(kRootIno, "library", bytes, true);
  image.add_file(kRootIno, "copy", bytes, true);
  auto server = FuseServer::create({*image.database, image.catalog, *image.contents, image.tier}, {.workers = 2});
  ASSERT_TRUE(server);
  std::vector<test::MountPoint> mounts;
  std::vector<void*> mapped;
  for (std::uint64_t i = 0; i < 8; ++i) {
    const test::MountPoint& mount = mounts.emplace_back(dir / ("mnt" + std::to_string(i)));
    ASSERT_TRUE((*server)->attach({i + 1, mount.path(), test::image_spec()}, test::duplicate(mount.device),
                                  test::duplicate(mount.table), false));
    for (const char* name : {"library", "copy"}) {
      const UniqueFd file{::open((mount / name).c_str(), O_RDONLY | O_CLOEXEC)};
      void* at = ::mmap(nullptr, bytes.size(), PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_POPULATE, file.get(), 0);
      ASSERT_NE(at, MAP_FAILED);
      EXPECT_EQ(std::memcmp(at, bytes.data(), bytes.size()), 0);
      mapped.push_back(at);
    }
  }
  ASSERT_NE(page_frame(mapped[0]), 0u);
  for (std::size_t page = 0; page < bytes.size(); page += 4096) {
    const std::uint64_t first = page_frame(static_cast<std::byte*>(mapped[0]) + page);
    for (void* at : mapped) EXPECT_EQ(page_frame(static_cast<std::byte*>(at) + page), first);
  }
  for (void* at : mapped) ::munmap(at, bytes.size());
}

TEST(HotFile, IsLetGoWhenNobodyHasItOpenAndNotBefore) {
  const test::TempDir dir;
  test::FuseImage image{dir.path(), /*private_mount=*/true};
  image.begin();
  const std::string bytes = test::random_text(3, 50'000);
  image.add_file(kRootIno, "program", bytes, true);
  const cas::ContentId content = cas::hash_of(as_bytes(bytes));
  auto server = FuseServer::create({*image.database, image.catalog, *image.contents, image.tier}, {.workers = 2});
  ASSERT_TRUE(server);
  const test::MountPoint mount{dir / "mnt"};
  ASSERT_TRUE((*server)->attach({1, mount.path(), test::image_spec()}, test::duplicate(mount.device),
                                test::duplicate(mount.table), false));
  {
    const UniqueFd file{::open((mount / "program").c_str(), O_RDONLY | O_CLOEXEC)};
    EXPECT_FALSE(image.tier.ask_to_let_go(content));
  }
  while ((*server)->stats().at(0).open_handles != 0) ::sched_yield();
  EXPECT_EQ((*server)->stats().at(0).backing_ids, 1u);
  EXPECT_TRUE(image.tier.ask_to_let_go(content));
  EXPECT_EQ((*server)->stats().at(0).backing_ids, 0u);
  EXPECT_EQ(test::slurp(mount / "program"), bytes);
}

TEST(HotFile, AServerEndsOnlyWhenTheOpensThatWaitForOneAreAnswered) {
  const test::TempDir dir;
  test::FuseImage image{dir.path(), /*private_mount=*/true};
  image.begin();
  const std::string bytes = test::random_text(4, 50'000);
  image.add_file(kRootIno, "program", bytes, true);
  auto server = FuseServer::create({*image.database, image.catalog, *image.contents, image.tier}, {.workers = 2});
  ASSERT_TRUE(server);
  const test::MountPoint mount{dir / "mnt"};
  ASSERT_TRUE((*server)->attach({1, mount.path(), test::image_spec()}, test::duplicate(mount.device),
                                test::duplicate(mount.table), false));
  image.tier.fills_wait = true;
  std::future<std::string> read = std::async(std::launch::async, [&mount] { return test::slurp(mount / "program"); });
  while (image.tier.waiting() == 0) ::sched_yield();
  std::future<void> ended = std::async(std::launch::async, [&server] { server->reset(); });
  EXPECT_EQ(ended.wait_for(std::chrono::milliseconds{50}), std::future_status::timeout);
  image.tier.run_waiting();
  ended.get();
  EXPECT_EQ(read.get(), bytes) << "opened by a server that is gone, read without one";
}

}  // namespace
}  // namespace stellarium::fs::fuse
