#include "tools/cli/container_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stellarium::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const ContainerHost kUsual{.has_machined = true, .kernel_release = "6.18.1"};

TEST(MachineName, IsWhatSystemdTakes) {
  for (const std::string& name :
       std::vector<std::string>{"a", "A1", "web-1", "a.b", "1.2.3", "a--b", std::string(64, 'x')})
    EXPECT_TRUE(is_machine_name(name)) << name;
  for (const std::string& name : std::vector<std::string>{"", ".", "-", "a_b", "a.", ".a", "-a", "a-", "a..b", "a.-b",
                                                          "a-.b", "a/b", "a b", "é", std::string(65, 'x')})
    EXPECT_FALSE(is_machine_name(name)) << name;
}

TEST(MachineName, FollowsTheClonesName) {
  EXPECT_EQ(machine_name_of("web-1"), "web-1");
  EXPECT_EQ(machine_name_of("debian.12"), "debian.12");
  EXPECT_EQ(machine_name_of("my_web"), "my-web");
  EXPECT_EQ(machine_name_of("_a_._b_"), "a.b");
  EXPECT_EQ(machine_name_of("a.."), "a");
  EXPECT_EQ(machine_name_of("___"), "clone");
  EXPECT_EQ(machine_name_of(std::string(63, 'x') + "-y"), std::string(63, 'x'));
}

TEST(MachineName, IsOneWhateverTheClonesNameIs) {
  const std::string_view letters = "a-._";
  for (unsigned number = 0; number < 4096; ++number) {
    std::string clone;
    for (unsigned rest = number; rest != 0; rest /= 4) clone += letters[rest % 4];
    EXPECT_TRUE(is_machine_name(machine_name_of(clone))) << clone << " " << machine_name_of(clone);
  }
}

TEST(Container, RunsUnderTheHostsSystemd) {
  EXPECT_THAT(container_words({.ref = "web", .command = {"sh", "-c", "x"}}, "/r", "m", kUsual),
              ElementsAre("systemd-nspawn", "--quiet", "--directory=/r", "--machine=m", "--", "sh", "-c", "x"));
  EXPECT_THAT(container_words({.ref = "web", .boot = true, .keep_unit = true}, "/r", "m", kUsual),
              ElementsAre("systemd-nspawn", "--quiet", "--directory=/r", "--machine=m", "--keep-unit", "--boot"));
}

TEST(Container, RunsWhereNobodyRegistersMachines) {
  EXPECT_THAT(
      container_words({.ref = "web"}, "/r", "m", {}),
      ElementsAre("systemd-nspawn", "--quiet", "--directory=/r", "--machine=m", "--register=no", "--keep-unit"));
}

TEST(Container, ShiftsOwnersByTheMountOnly) {
  EXPECT_THAT(container_words({.ref = "web", .private_users = true}, "/r", "m", kUsual),
              ElementsAre("systemd-nspawn", "--quiet", "--directory=/r", "--machine=m", "--private-users=pick",
                          "--private-users-ownership=map"));
}

TEST(Container, IsRefusedBeforeAnythingIsMade) {
  EXPECT_TRUE(check_container({.ref = "web"}, {}));
  EXPECT_TRUE(check_container({.ref = "web", .private_users = true, .machine = "m"}, kUsual));
  const auto named = check_container({.ref = "web", .machine = "no_name"}, kUsual);
  ASSERT_FALSE(named);
  EXPECT_THAT(named.error().context, HasSubstr("'no_name' cannot be a machine's name"));
  const auto shifted = check_container({.ref = "web", .private_users = true}, {.kernel_release = "6.1.0-18-amd64"});
  ASSERT_FALSE(shifted);
  EXPECT_EQ(shifted.error().code, Errc::not_supported);
  EXPECT_THAT(shifted.error().context, HasSubstr("this kernel (6.1.0-18-amd64)"));
  EXPECT_THAT(shifted.error().context, HasSubstr("Linux 6.12"));
}

}  // namespace
}  // namespace stellarium::cli
