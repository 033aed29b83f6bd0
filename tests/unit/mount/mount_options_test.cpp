#include "fs/fuse/mount_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

namespace stellarium::fs::fuse {
namespace {

MountOptions parsed(std::string_view given, const MountOptions& before = {.read_only = false}) {
  const auto options = parse_mount_options(given, before);
  if (options) return *options;
  ADD_FAILURE() << given << ": " << to_string(options.error());
  return {};
}

TEST(MountOptions, LeaveEverythingAsItIsWhereNothingIsSaid) {
  for (const char* nothing : {"", ",", ",,,", "defaults", "rw", "defaults,auto,nouser"}) {
    const MountOptions options = parsed(nothing, {.source = "web", .read_only = false, .allow_other = false});
    EXPECT_EQ(options.source, "web");
    EXPECT_EQ(options.flags, 0u) << nothing;
    EXPECT_FALSE(options.read_only || options.allow_other) << nothing;
  }
}

TEST(MountOptions, AreThoseOfMount) {
  const MountOptions options =
      parsed("ro,nosuid,nodev,noexec,noatime,source=a:1,allow_other", {.read_only = false, .allow_other = false});
  EXPECT_TRUE(options.read_only && options.allow_other);
  EXPECT_EQ(options.source, "a:1");
  EXPECT_EQ(options.flags, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME);
}

TEST(MountOptions, CountByTheLastWord) {
  EXPECT_EQ(parsed("nosuid,nodev,suid").flags, static_cast<unsigned long>(MS_NODEV));
  EXPECT_FALSE(parsed("ro,rw").read_only);
  EXPECT_EQ(parsed("strictatime,noatime,relatime").flags, static_cast<unsigned long>(MS_RELATIME));
}

TEST(MountOptions, OfUsersTakeTheirPrivileges) {
  for (const char* given : {"user", "user=ann", "users"})
    EXPECT_EQ(parsed(given).flags, MS_NOSUID | MS_NODEV | MS_NOEXEC) << given;
  EXPECT_EQ(parsed("user,exec").flags, MS_NOSUID | MS_NODEV);
}

TEST(MountOptions, ForOthersMeanNothing) {
  const MountOptions options =
      parsed("noauto,nofail,_netdev,x-systemd.automount,x-systemd.requires=a.service,X-mount.mkdir,comment=why,nouser");
  EXPECT_EQ(options.flags, 0u);
  EXPECT_FALSE(options.read_only);
}

TEST(MountOptions, ThatAreUnknownAreNamed) {
  for (const char* given : {"nosuchthing", "ro,nosuchthing,nodev", "nosuchthing=1"}) {
    const auto refused = parse_mount_options(given, {});
    ASSERT_FALSE(refused) << given;
    EXPECT_THAT(refused.error().context, testing::HasSubstr("unknown mount option 'nosuchthing"));
  }
  EXPECT_THAT(parse_mount_options("remount,ro", {}).error().context, testing::HasSubstr("remount"));
}

TEST(MountOptions, ForFusermountAreThoseItKnows) {
  EXPECT_EQ(flags_for_fusermount(0), "");
  EXPECT_EQ(flags_for_fusermount(MS_NODEV | MS_NOATIME | MS_SYNCHRONOUS), ",nodev,noatime");
}

}  // namespace
}  // namespace stellarium::fs::fuse
