#include "virtiofsd/window_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <fstream>

#include "support/guest_window.h"
#include "support/temp_dir.h"

namespace stellarium::virtiofsd {
namespace {

constexpr std::uint64_t kWindowSize = 8u << 20, kPageSize = 4096;

class WindowChannelTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream{dir_.path() / "file", std::ios::binary} << std::string(kPageSize, 'a') << std::string(kPageSize, 'b')
                                                          << "c";
    file_ = UniqueFd{::open((dir_.path() / "file").c_str(), O_RDONLY | O_CLOEXEC)};
    channel_.set_channel(UniqueFd{::fcntl(machine_.channel(), F_DUPFD_CLOEXEC, 3)});
  }
  test::TempDir dir_;
  std::shared_ptr<EventWorkers> workers_ = std::move(*EventWorkers::start(1));
  test::GuestWindow machine_{kWindowSize};
  WindowChannel channel_{kWindowSize, workers_};
  UniqueFd file_;
};

TEST_F(WindowChannelTest, TheMachineSeesTheFilesPages) {
  ASSERT_TRUE(channel_.map(kPageSize, file_.get(), kPageSize, 2 * kPageSize));
  EXPECT_EQ(*machine_.at(kPageSize), std::byte{'b'});
  EXPECT_EQ(*machine_.at(2 * kPageSize), std::byte{'c'});
  EXPECT_EQ(*machine_.at(2 * kPageSize + 1), std::byte{0});
  ASSERT_TRUE(channel_.unmap(kPageSize, 2 * kPageSize));
  EXPECT_TRUE(machine_.mapped().empty());
  EXPECT_EQ(machine_.broken_rules, 0);
}

TEST_F(WindowChannelTest, ARefusalIsAnErrorAndNotTheEnd) {
  ASSERT_TRUE(channel_.map(0, file_.get(), 0, kPageSize));
  EXPECT_EQ(channel_.map(0, file_.get(), 0, kPageSize).error().code, Errc::io);
  EXPECT_EQ(channel_.unmap(kPageSize, kPageSize).error().code, Errc::io);
  EXPECT_TRUE(channel_.unmap(0, kPageSize));
}

TEST_F(WindowChannelTest, WithoutAMonitorNothingIsMapped) {
  const std::uint64_t life = channel_.life();
  channel_.set_channel({});
  EXPECT_NE(channel_.life(), life);
  EXPECT_EQ(channel_.map(0, file_.get(), 0, kPageSize).error().code, Errc::unavailable);
}

TEST_F(WindowChannelTest, AMonitorThatAnswersSomethingElseIsNotAskedAgain) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd monitor{ends[1]};
  channel_.set_channel(UniqueFd{ends[0]});
  const struct {
    protocol::Header header;
    std::uint64_t code;
  } __attribute__((packed)) wrong{{10, 5, 8}, 0};
  ASSERT_EQ(::send(monitor.get(), &wrong, sizeof wrong, 0), static_cast<ssize_t>(sizeof wrong));
  EXPECT_EQ(channel_.map(0, file_.get(), 0, kPageSize).error().code, Errc::unavailable);
  EXPECT_EQ(channel_.unmap(0, kPageSize).error().code, Errc::unavailable);
}

TEST_F(WindowChannelTest, WorkIsDoneByAWorker) {
  std::atomic<bool> done = false;
  channel_.post([&done] {
    done = true;
    done.notify_one();
  });
  done.wait(false);
}

TEST_F(WindowChannelTest, WorkForWorkersThatStoppedIsDropped) {
  workers_->stop();
  channel_.post([] { FAIL(); });
  EXPECT_FALSE(workers_->add(UniqueFd{::fcntl(machine_.channel(), F_DUPFD_CLOEXEC, 3)}, {}));
}

}  // namespace
}  // namespace stellarium::virtiofsd
