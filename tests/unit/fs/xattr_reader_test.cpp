#include "fs/xattr_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include <filesystem>
#include <fstream>

#include "base/unique_fd.h"

namespace stellarium::fs {
namespace {

class XattrReaderTest : public testing::TestWithParam<bool> {
 protected:
  XattrReaderTest() {
    char dir[] = "/var/tmp/xattr_reader_test.XXXXXX";
    path_ = ::mkdtemp(dir);
    dir_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::ofstream{path_ / "file"} << "x";
    std::filesystem::create_symlink("file", path_ / "link");
  }
  ~XattrReaderTest() override { std::filesystem::remove_all(path_); }

  void set(const std::string& name, const std::string& value) {
    ASSERT_EQ(::setxattr((path_ / "file").c_str(), name.c_str(), value.data(), value.size(), 0), 0) << name;
  }

  std::filesystem::path path_;
  UniqueFd dir_;
  XattrReader reader_{GetParam()};
};

TEST_P(XattrReaderTest, ReadsNamesAndValuesInOrder) {
  set("user.b", "2");
  set("user.a", std::string{"1\0x", 3});
  const auto found = reader_.all_of(dir_.get(), "file", "file");
  ASSERT_TRUE(found) << to_string(found.error());
  EXPECT_EQ(*found, (XattrReader::Xattrs{{"user.a", std::string{"1\0x", 3}}, {"user.b", "2"}}));
}

TEST_P(XattrReaderTest, ReadsMoreNamesThanItExpected) {
  for (int i = 0; i < 20; ++i) set("user." + std::string(60, 'n') + std::to_string(1000 + i), "");
  const auto found = reader_.all_of(dir_.get(), "file", "file");
  ASSERT_TRUE(found) << to_string(found.error());
  EXPECT_EQ(found->size(), 20u);
}

TEST_P(XattrReaderTest, DoesNotFollowASymlink) {
  set("user.a", "1");
  EXPECT_TRUE(reader_.all_of(dir_.get(), "link", "link")->empty());
}

INSTANTIATE_TEST_SUITE_P(AtCallsAndProc, XattrReaderTest, testing::Bool());

}  // namespace
}  // namespace stellarium::fs
