#include "tools/cli/undo_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace stellarium::cli {
namespace {

TEST(UndoProcess, UndoesWhenItIsAskedTo) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end{ends[0]}, write_end{ends[1]};
  auto undoing = UndoProcess::begin([&] { return ::write(write_end.get(), "u", 1) == 1 ? 3 : 4; });
  ASSERT_TRUE(undoing);
  ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
  char byte = 0;
  EXPECT_EQ(::read(read_end.get(), &byte, 1), -1);  // not before
  EXPECT_EQ(undoing->finish(), 3);
  EXPECT_EQ(::read(read_end.get(), &byte, 1), 1);
  EXPECT_EQ(undoing->finish(), 0);  // once
}

TEST(UndoProcess, UndoesWhenItsMakerWasKilled) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end{ends[0]};
  UniqueFd write_end{ends[1]};
  const pid_t maker = ::fork();
  if (maker == 0) {
    auto undoing = UndoProcess::begin([&] { return ::write(write_end.get(), "u", 1) == 1 ? 0 : 1; });
    ::raise(SIGKILL);
  }
  write_end.reset();
  ASSERT_EQ(::waitpid(maker, nullptr, 0), maker);
  char byte = 0;
  EXPECT_EQ(::read(read_end.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'u');
}

TEST(UndoProcess, IsReplacedByItsMakerIfItWasKilled) {
  const pid_t maker = ::getpid();
  auto undoing = UndoProcess::begin([maker] {
    if (::getpid() != maker) ::raise(SIGKILL);
    return 5;
  });
  ASSERT_TRUE(undoing);
  EXPECT_EQ(undoing->finish(), 5);
}

}  // namespace
}  // namespace stellarium::cli
