#include "tools/cli/mount_helper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stellarium::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> words(const std::vector<std::string>& given) {
  const auto translated = words_of_mount_helper(given);
  if (translated) return *translated;
  ADD_FAILURE() << to_string(translated.error());
  return {};
}

TEST(MountHelper, IsKnownByItsName) {
  EXPECT_TRUE(is_mount_helper("/sbin/mount.stellarium"));
  EXPECT_TRUE(is_mount_helper("mount.stellarium"));
  EXPECT_FALSE(is_mount_helper("/usr/bin/stellarium"));
  EXPECT_FALSE(is_mount_helper(""));
}

TEST(MountHelper, TurnsALineOfFstabIntoTheCommand) {
  EXPECT_THAT(words({"debian:12", "/mnt", "-o", "rw,nodev,store=/srv/s,x-systemd.requires=stellarium.service"}),
              ElementsAre("mount", "--store", "/srv/s", "-o",
                          "source=debian:12,nodev,x-systemd.requires=stellarium.service", "--", "debian:12", "/mnt"));
}

TEST(MountHelper, ShowsTheWholeStoreWhereThereIsNoImage) {
  EXPECT_THAT(words({"none", "/mnt", "-o", "rw,no_passthrough"}),
              ElementsAre("mount", "--no-passthrough", "-o", "source=none", "--", "/mnt"));
}

TEST(MountHelper, TakesTheLettersThatMountGives) {
  EXPECT_THAT(words({"-sn", "-t", "fuse.stellarium", "a", "/b", "-v"}),
              ElementsAre("mount", "--verbose", "-o", "source=a", "--", "a", "/b"));
  EXPECT_THAT(words({"a", "/b", "-fnv"}), IsEmpty());
}

TEST(MountHelper, RefusesWhatItDoesNotKnow) {
  for (const std::vector<std::string>& given :
       {std::vector<std::string>{}, {"a"}, {"a", "b", "c"}, {"a", "b", "-o"}, {"a", "b", "-N", "ns"}, {"a", "b", "-x"}})
    EXPECT_FALSE(words_of_mount_helper(given));
}

TEST(MountHelper, SaysHowItEndedInTheWordsOfMount) {
  EXPECT_EQ(exit_code_of_mount_helper(0), 0);
  EXPECT_EQ(exit_code_of_mount_helper(1), 32);
  EXPECT_EQ(exit_code_of_mount_helper(2), 1);
}

}  // namespace
}  // namespace stellarium::cli
