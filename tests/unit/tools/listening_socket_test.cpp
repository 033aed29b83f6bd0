#include "tools/cli/listening_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "support/temp_dir.h"

namespace stellarium::cli {
namespace {

TEST(ListeningSocket, IsForItsUserOnly) {
  const test::TempDir dir;
  const std::string path = dir.path() / "socket";
  const auto listening = listen_on(path);
  ASSERT_TRUE(listening);
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);
  EXPECT_TRUE(connect_to(path));
}

TEST(ListeningSocket, ReplacesOneOnWhichNobodyListens) {
  const test::TempDir dir;
  const std::string path = dir.path() / "socket";
  ASSERT_TRUE(listen_on(path));
  ASSERT_TRUE(std::filesystem::exists(path));
  EXPECT_FALSE(connect_to(path));
  const auto second = listen_on(path);
  EXPECT_TRUE(second);
  EXPECT_TRUE(connect_to(path));
  EXPECT_FALSE(listen_on(path));  // somebody does
}

TEST(ListeningSocket, ReplacesNothingElse) {
  const test::TempDir dir;
  const std::string path = dir.path() / "file";
  std::ofstream{path} << "kept";
  EXPECT_FALSE(listen_on(path));
  EXPECT_EQ(std::filesystem::file_size(path), 4u);
}

TEST(ListeningSocket, HasAShortPath) {
  const auto listening = listen_on("/" + std::string(107, 'x'));
  ASSERT_FALSE(listening);
  EXPECT_EQ(listening.error().code, Errc::invalid_argument);
  EXPECT_THAT(listening.error().context, testing::HasSubstr("at most 107 bytes"));
}

}  // namespace
}  // namespace stellarium::cli
