#include "fs/path_key.h"

#include <gtest/gtest.h>

#include "fs/records.h"

namespace stellarium::fs {
namespace {

TEST(PathKey, NormalPathsLoseWhatSaysNothing) {
  EXPECT_EQ(*normal_path("./usr//bin/./sh"), "usr/bin/sh");
  EXPECT_EQ(*normal_path("usr/"), "usr");
  EXPECT_EQ(*normal_path("."), "");
  EXPECT_EQ(*normal_path("./"), "");
  EXPECT_EQ(*normal_path("..a/..."), "..a/...");
}

TEST(PathKey, PathsThatLeaveTheTreeOrCannotBeAreRefused) {
  for (const std::string& bad :
       {std::string{}, std::string{"/etc"}, std::string{"../x"}, std::string{"a/../b"}, std::string{"a/.."},
        std::string(256, 'n'), std::string(5000, 'a'), std::string{"a\0b", 3}}) {
    const auto path = normal_path(bad);
    ASSERT_FALSE(path) << bad;
    EXPECT_EQ(path.error().code, Errc::invalid_argument);
  }
}

TEST(PathKey, SortsBreadthFirstAndByCookieWithinADirectory) {
  EXPECT_LT(path_key(""), path_key("z"));
  EXPECT_LT(path_key("z"), path_key("a/a"));
  const bool a_first = name_hash("a") < name_hash("b");
  EXPECT_EQ(path_key("a") < path_key("b"), a_first);
  EXPECT_EQ(path_key("a/z") < path_key("b/a"), a_first);
}

TEST(PathKey, TheKeyBelowADirectoryIsThatOfThePath) {
  EXPECT_EQ(key_below(path_key(""), "usr"), path_key("usr"));
  EXPECT_EQ(key_below(path_key("usr/bin"), "sh"), path_key("usr/bin/sh"));
}

TEST(PathKey, KnowsItsParentItsLastNameAndItsPath) {
  EXPECT_EQ(parent_of_key(path_key("usr/bin/sh")), path_key("usr/bin"));
  EXPECT_EQ(parent_of_key(path_key("usr")), path_key(""));
  EXPECT_TRUE(is_root_key(path_key("")));
  const std::string key = path_key("usr/bin/sh");
  EXPECT_EQ(last_component(key).name, "sh");
  EXPECT_EQ(last_component(key).hash, name_hash("sh"));
  EXPECT_EQ(path_of_key(key), "usr/bin/sh");
  EXPECT_EQ(path_of_key(path_key("")), "/");
}

}  // namespace
}  // namespace stellarium::fs
