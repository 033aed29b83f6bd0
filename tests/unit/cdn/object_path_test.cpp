#include <gtest/gtest.h>

#include "cdn/objects.h"

namespace stellarium::cdn {
namespace {

TEST(ObjectPath, IsPlain) {
  for (const char* path : {"a", "blobs/0f", "manifests/ab.json", "names/debian", "names/a.b-c_d+e/1"})
    EXPECT_TRUE(is_object_path(path)) << path;
  EXPECT_TRUE(is_object_path(std::string(512, 'x')));
}

TEST(ObjectPath, CannotLeaveItsFolderOrHideInIt) {
  for (const char* path : {"",   "/",    "/a",  "a/",  "a//b", ".",    "..",   "../a", "a/../b", "a/..",
                           ".a", "a/.b", "a b", "a?b", "a#b",  "a%2e", "a\\b", "a:b",  "a\nb",   "\xc3\xa4"})
    EXPECT_FALSE(is_object_path(path)) << path;
  EXPECT_FALSE(is_object_path(std::string(513, 'x')));
  EXPECT_FALSE(is_object_path(std::string_view{"a\0b", 3}));
}

}  // namespace
}  // namespace stellarium::cdn
