#include "tools/cli/listening_socket.h"

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

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

TEST(ListeningSocket, IsNotDisturbedByOneWhoWantsItsName) {
  const test::TempDir dir;
  const std::string path = dir.path() / "socket";
  const auto listening = listen_on(path);
  ASSERT_TRUE(listening);
  EXPECT_FALSE(listen_on(path));
  pollfd connection{listening->get(), POLLIN, 0};
  EXPECT_EQ(::poll(&connection, 1, 0), 0);  // what accepts here would take it for its monitor
}

TEST(ListeningSocket, ReplacesNothingElse) {
  const test::TempDir dir;
  const std::string path = dir.path() / "file";
  std::ofstream{path} << "kept";
  EXPECT_FALSE(listen_on(path));
  EXPECT_EQ(std::filesystem::file_size(path), 4u);
}

TEST(ListeningSocket, IsSharedWithAGroup) {
  const test::TempDir dir;
  const std::string path = dir.path() / "socket";
  ASSERT_TRUE(listen_on(path));
  const auto unknown = share_with_group(path, "no-such-group");
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().context, testing::HasSubstr("there is no group no-such-group"));
  EXPECT_TRUE(share_with_group(path, std::to_string(::getegid())));
  const struct group* const own = ::getgrgid(::getegid());
  ASSERT_NE(own, nullptr);
  ASSERT_TRUE(share_with_group(path, own->gr_name));
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0660u);
  EXPECT_EQ(status.st_gid, ::getegid());
}

TEST(ListeningSocket, IsInheritedOnlyIfItListens) {
  const test::TempDir dir;
  const std::string path = dir.path() / "socket";
  const auto listening = listen_on(path);
  ASSERT_TRUE(listening);
  const auto connected = connect_to(path);
  ASSERT_TRUE(connected);
  const auto inherited = inherited_socket(listening->get());
  ASSERT_TRUE(inherited);
  EXPECT_NE(inherited->get(), listening->get());
  for (const int other : {connected->get(), STDERR_FILENO, 1'000'000, -1})
    EXPECT_FALSE(inherited_socket(other)) << other;
}

TEST(ListeningSocket, HasAShortPath) {
  const auto listening = listen_on("/" + std::string(107, 'x'));
  ASSERT_FALSE(listening);
  EXPECT_EQ(listening.error().code, Errc::invalid_argument);
  EXPECT_THAT(listening.error().context, testing::HasSubstr("at most 107 bytes"));
}

}  // namespace
}  // namespace stellarium::cli
