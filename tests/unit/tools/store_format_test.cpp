#include "tools/server/store_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "support/golden.h"
#include "support/temp_dir.h"
#include "tools/cli/store_location.h"
#include "tools/server/mounts.h"

namespace stellarium::server {
namespace {

using testing::HasSubstr;

void write(const std::filesystem::path& file, std::string_view text) {
  std::ofstream{file} << text;
}

TEST(StoreFormat, OfANewStoreIsReadBack) {
  const test::TempDir temp;
  const auto made = open_format(system_io(), temp.path());
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_EQ(made->size(), 36u);
  EXPECT_EQ(*open_format(system_io(), temp.path()), *made);
}

TEST(StoreFormat, OfVersion1IsReadAsReleased) {
  const test::TempDir temp;
  write(temp.path() / "format", test::golden("store-format-v1.txt"));
  const auto opened = open_format(system_io(), temp.path());
  ASSERT_TRUE(opened) << to_string(opened.error());
  EXPECT_EQ(*opened, "01234567-89ab-4def-8123-456789abcdef");
}

TEST(StoreFormat, OfAnotherVersionIsRefusedNamingBoth) {
  const test::TempDir temp;
  write(temp.path() / "format", "stellarium store, version 7\nuuid 01234567-89ab-4def-8123-456789abcdef\n");
  const auto opened = open_format(system_io(), temp.path());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::version);
  EXPECT_THAT(opened.error().context, HasSubstr("version 7"));
  EXPECT_THAT(opened.error().context, HasSubstr("version 1"));
}

TEST(StoreFormat, ThatIsMalformedIsCorrupt) {
  for (const std::string text :
       {"", "stellarium store, version 1", "stellarium store, version 1\n", "stellarium store, version 1\nuuid x\n",
        "stellarium store, version 1\nuuid 01234567-89ab-4def-8123-456789abcdeZ\n",
        "stellarium store, version 1x\nuuid 01234567-89ab-4def-8123-456789abcdef\n"}) {
    const test::TempDir temp;
    write(temp.path() / "format", text);
    EXPECT_EQ(open_format(system_io(), temp.path()).error().code, Errc::corrupt) << text;
  }
}

TEST(StoreFormat, IsNotMadeAmongOtherFiles) {
  const test::TempDir temp;
  write(temp.path() / "precious", "data");
  EXPECT_EQ(open_format(system_io(), temp.path()).error().code, Errc::invalid_argument);
  EXPECT_FALSE(std::filesystem::exists(temp.path() / "format"));
}

TEST(StoreFormat, IsMadeWhereAnEarlierAttemptWasCutOff) {
  const test::TempDir temp;
  std::filesystem::create_directory(temp.path() / "run");
  write(temp.path() / "format.new", "stellarium st");
  const auto state = cli::examine_store(temp.path());
  ASSERT_TRUE(state) << to_string(state.error());
  EXPECT_EQ(*state, cli::StoreState::absent);
  EXPECT_TRUE(open_format(system_io(), temp.path()));
  EXPECT_EQ(cli::examine_store(temp.path()), cli::StoreState::present);
}

TEST(MountRecord, SurvivesTheKeeper) {
  fs::fuse::FuseServer::MountSpec spec{77, "/mnt/a b", {fs::fuse::ViewSpec::Kind::image, {"web", "1"}, 5, 6}};
  const auto decoded = decode_mount(encode_mount(spec));
  ASSERT_TRUE(decoded) << to_string(decoded.error());
  EXPECT_EQ(decoded->id, 77u);
  EXPECT_EQ(decoded->mountpoint, "/mnt/a b");
  EXPECT_EQ(decoded->view.layer, 5u);
}

TEST(MountRecord, FitsBesideItsDescriptorsHoweverLongThePath) {
  fs::fuse::FuseServer::MountSpec spec{
      1,
      std::string(4095, 'p'),
      {fs::fuse::ViewSpec::Kind::image, {std::string(128, 'n'), std::string(128, 't')}, 5, 6}};
  EXPECT_LE(encode_mount(spec).size(), keeper::kMaxBlob);
}

TEST(MountRecord, CutBeforeItsViewIsRefused) {
  const std::string whole = encode_mount({77, "/mnt", {fs::fuse::ViewSpec::Kind::image, {"web", "1"}, 5, 6}});
  const std::size_t view =
      whole.size() - fs::fuse::ViewSpec{fs::fuse::ViewSpec::Kind::image, {"web", "1"}, 5, 6}.encode().size();
  for (std::size_t size = 0; size <= view; ++size) EXPECT_FALSE(decode_mount(whole.substr(0, size))) << size;
}

}  // namespace
}  // namespace stellarium::server
