#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <thread>

#include "fuse_mount.h"

// What a signal does to a program that waits for a file's content.
namespace stellarium::fs::fuse {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kPage = 4096;

class FuseInterruptTest : public testing::Test {
 protected:
  FuseInterruptTest() {
    image_.begin();
    image_.add_file(kRootIno, "program", bytes_, true);
    image_.add_file(kRootIno, "data", bytes_);
    image_.publish("debian");
  }
  ~FuseInterruptTest() override { image_.tier.run_waiting(); }

  void start(bool passthrough) {
    const FuseServer::Backing backing{*image_.database, image_.catalog, *image_.contents, image_.tier};
    auto made = FuseServer::create(backing, {.workers = 2, .passthrough = passthrough});
    ASSERT_TRUE(made) << to_string(made.error());
    server_ = std::move(*made);
    const auto attached = server_->attach({1, mount_.path(), test::image_spec()}, test::duplicate(mount_.device),
                                          test::duplicate(mount_.table), false);
    ASSERT_TRUE(attached) << to_string(attached.error());
  }

  /// Runs `work` in a process of its own until the tier has something that waits. SIGUSR1 has a handler there.
  pid_t run_until_it_waits(const std::function<bool()>& work) {
    const pid_t child = ::fork();
    if (child == 0) {
      struct sigaction action {};
      action.sa_handler = [](int) {};
      ::sigaction(SIGUSR1, &action, nullptr);
      ::_exit(work() ? 0 : 1);
    }
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (image_.tier.waiting() == 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(1ms);
    EXPECT_NE(image_.tier.waiting(), 0u) << "it did not have to wait";
    return child;
  }
  /// How it ended, as waitpid says; -1 if it had not after `patience`.
  static int ended(pid_t child, std::chrono::milliseconds patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) return -1;
      std::this_thread::sleep_for(1ms);
    }
    return status;
  }
  /// Whether no file is open any more. The kernel sends RELEASE on its own time, also after the program's end.
  bool all_closed(std::chrono::milliseconds patience) const {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (server_->stats().at(0).open_handles != 0) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }
  static bool died(int status) { return status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }

  bool opens(const char* name) const {
    const UniqueFd file{::open((mount_ / name).c_str(), O_RDONLY)};
    return static_cast<bool>(file);
  }
  /// Past the page cache, so that the program itself waits for the READ.
  bool reads_directly() const {
    const UniqueFd file{::open((mount_ / "data").c_str(), O_RDONLY | O_DIRECT)};
    alignas(kPage) static char page[kPage];
    return ::pread(file.get(), page, kPage, 0) == kPage && std::memcmp(page, bytes_.data(), kPage) == 0;
  }
  bool reads_a_mapping() const {
    const UniqueFd file{::open((mount_ / "data").c_str(), O_RDONLY)};
    void* const mapped = ::mmap(nullptr, bytes_.size(), PROT_READ, MAP_SHARED, file.get(), 0);
    ::madvise(mapped, bytes_.size(), MADV_RANDOM);  // no readahead: the fault itself waits for the READ
    return std::memcmp(static_cast<char*>(mapped) + 8 * kPage, bytes_.data() + 8 * kPage, kPage) == 0;
  }

  const std::string bytes_ = test::random_text(1, 300'000);
  test::TempDir dir_;
  test::FuseImage image_{dir_.path(), /*private_mount=*/true};
  test::MountPoint mount_{dir_ / "mnt"};
  std::unique_ptr<FuseServer> server_;
};

TEST_F(FuseInterruptTest, AProgramThatWaitsForAColdOpenCanBeKilled) {
  image_.tier.fills_wait = true;
  start(/*passthrough=*/true);
  const pid_t child = run_until_it_waits([this] { return opens("program"); });
  ::kill(child, SIGKILL);
  EXPECT_TRUE(died(ended(child, 2s)));
  image_.tier.run_waiting();
  EXPECT_TRUE(all_closed(2s));
}

TEST_F(FuseInterruptTest, ASignalEndsTheWaitOfAColdOpenWithoutFailingIt) {
  image_.tier.fills_wait = true;
  start(/*passthrough=*/true);
  const pid_t child = run_until_it_waits([this] { return test::slurp(mount_ / "program") == bytes_; });
  ::kill(child, SIGUSR1);
  const int status = ended(child, 5s);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(FuseInterruptTest, AProgramThatWaitsForAColdReadCanBeKilled) {
  image_.tier.reads_wait = true;
  start(/*passthrough=*/false);
  for (const auto& work : {std::function<bool()>{[this] { return reads_a_mapping(); }},
                           std::function<bool()>{[this] { return test::slurp(mount_ / "data") == bytes_; }}}) {
    const pid_t child = run_until_it_waits(work);
    ::kill(child, SIGKILL);
    EXPECT_TRUE(died(ended(child, 2s)));
    image_.tier.run_waiting();
  }
}

TEST_F(FuseInterruptTest, ASignalWithAHandlerIsNotSeenByAReadOfAFile) {
  image_.tier.reads_wait = true;
  start(/*passthrough=*/false);
  for (const auto& work : {std::function<bool()>{[this] { return reads_directly(); }},
                           std::function<bool()>{[this] { return reads_a_mapping(); }}}) {
    const pid_t child = run_until_it_waits(work);
    ::kill(child, SIGUSR1);
    EXPECT_EQ(ended(child, 200ms), -1) << "it waits on, as for a disk";
    image_.tier.run_waiting();
    const int status = ended(child, 5s);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
}

}  // namespace
}  // namespace stellarium::fs::fuse
