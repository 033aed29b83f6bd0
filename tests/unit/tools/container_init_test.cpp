#include "tools/cli/container_init.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace stellarium::cli {
namespace {

constexpr const char* kNone = "0000000000000000";
constexpr const char* kHalt = "0000001000000000";  // SIGRTMIN+3 is signal 37

std::string status(const std::string& pids, const std::string& blocked, const std::string& caught) {
  return "Name:\tinit\nNSpid:\t" + pids + "\nSigBlk:\t" + blocked + "\nSigIgn:\t" + kHalt + "\nSigCgt:\t" + caught +
         "\n";
}

TEST(ContainerInit, CanBeAskedOnceItTakesTheSignal) {
  EXPECT_FALSE(heeds_halt(status("22493\t1", kNone, kNone)));
  EXPECT_TRUE(heeds_halt(status("22493\t1", kHalt, kNone)));
  EXPECT_TRUE(heeds_halt(status("22493\t1", "7fe3c0fe28014a03", kNone)));
  EXPECT_TRUE(heeds_halt(status("22493\t9\t1", kNone, kHalt)));
}

TEST(ContainerInit, IsTheFirstProcessOfItsNamespace) {
  EXPECT_FALSE(heeds_halt(status("22493", kHalt, kHalt)));
  EXPECT_FALSE(heeds_halt(status("1", kHalt, kHalt)));
  EXPECT_FALSE(heeds_halt(status("22493\t21", kHalt, kHalt)));
  EXPECT_FALSE(heeds_halt(""));
  EXPECT_FALSE(init_heeds_halt(::getpid()));
}

}  // namespace
}  // namespace stellarium::cli
