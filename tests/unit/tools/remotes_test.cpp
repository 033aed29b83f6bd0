#include "tools/cli/remotes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "support/file_text.h"
#include "support/temp_dir.h"

namespace stellarium::cli {
namespace {

using testing::HasSubstr;

class RemotesOfUser : public testing::Test {
 protected:
  static Remote remote(const std::string& name) {
    Remote made{.name = name, .access = {}, .repository = "ours", .keys = {}};
    made.access.bases = {"https://one.example/images", "https://two.example/images"};
    made.access.ca_file = "/etc/ca.pem";
    made.access.token_file = "/etc/token";
    made.keys.push_back(cdn::PublicKey::from_text("ed25519:" + std::string(64, 'a')).value());
    return made;
  }
  void write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((dir_ / file).parent_path());
    std::ofstream{dir_ / file} << text;
  }
  static cas::Hash manifest(const std::string& text) { return cas::hash_of(as_bytes(text)); }

  test::TempDir dir_;
  const Remotes remotes_{dir_.path()};
};

TEST_F(RemotesOfUser, ComeBackAsTheyWereSaved) {
  const Remote saved = remote("a");
  ASSERT_TRUE(remotes_.save(saved));
  const auto found = remotes_.find("a").value().value();
  EXPECT_EQ(found.name, "a");
  EXPECT_EQ(found.access, saved.access);
  EXPECT_EQ(found.repository, "ours");
  EXPECT_EQ(found.keys, saved.keys);
  EXPECT_EQ(remotes_.find("b").value(), std::nullopt);
}

TEST_F(RemotesOfUser, AreListedByNameAndRemoved) {
  for (const char* name : {"b", "c", "a"}) ASSERT_TRUE(remotes_.save(remote(name)));
  write("remotes.d/notes.txt", "of the user");
  std::vector<std::string> names;
  const auto all = remotes_.list();
  for (const Remote& each : all.value()) names.push_back(each.name);
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(remotes_.remove("b"));
  EXPECT_EQ(remotes_.remove("b").error().code, Errc::not_found);
  EXPECT_EQ(remotes_.list().value().size(), 2u);
}

TEST_F(RemotesOfUser, HaveNamesThatAreFileNames) {
  for (const char* name : {"", ".", "..", "../a", "a/b", ".a", "-a", "a b", "a\n"}) {
    EXPECT_FALSE(is_remote_name(name)) << name;
    EXPECT_EQ(remotes_.find(name).error().code, Errc::invalid_argument) << name;
    EXPECT_EQ(remotes_.save(remote(name)).error().code, Errc::invalid_argument) << name;
  }
  EXPECT_TRUE(is_remote_name(std::string(64, 'a')));
  EXPECT_FALSE(is_remote_name(std::string(65, 'a')));
}

TEST_F(RemotesOfUser, AreEmptyAtFirst) {
  EXPECT_TRUE(remotes_.list().value().empty());
  EXPECT_EQ(remotes_.seen("base", "a:1").value().revision, 0u);
}

TEST_F(RemotesOfUser, NameTheFileThatIsWrong) {
  for (const char* text : {"", "{", "[]", R"({"schema":1})", R"({"schema":1,"repository":"","addresses":[],"keys":[]})",
                           R"({"schema":1,"repository":"","addresses":[1],"keys":[]})",
                           R"({"schema":1,"repository":"","addresses":["a"],"keys":["ed25519:short"]})",
                           R"({"schema":1,"repository":"","addresses":["a"],"keys":[],"keys":[]})"}) {
    write("remotes.d/a.json", text);
    const auto found = remotes_.find("a");
    ASSERT_FALSE(found) << text;
    EXPECT_EQ(found.error().code, Errc::corrupt) << text;
    EXPECT_THAT(found.error().context, HasSubstr("a.json"));
    EXPECT_FALSE(remotes_.list());
  }
}

TEST_F(RemotesOfUser, OfAnotherVersionAreRefused) {
  write("remotes.d/a.json", R"({"schema":2,"repository":"","addresses":["a"],"keys":[]})");
  EXPECT_EQ(remotes_.find("a").error().code, Errc::version);
}

TEST_F(RemotesOfUser, DoNotWaitForAFifo) {
  std::filesystem::create_directories(dir_ / "remotes.d");
  ::mkfifo((dir_ / "remotes.d/a.json").c_str(), 0600);
  EXPECT_FALSE(remotes_.find("a"));
}

TEST_F(RemotesOfUser, RememberWhatWasSeen) {
  ASSERT_TRUE(remotes_.remember("/base", "a:1", {5, manifest("five")}));
  ASSERT_TRUE(remotes_.remember("/base", "b:1", {1, manifest("other")}));
  ASSERT_TRUE(remotes_.remember("/elsewhere", "a:1", {9, manifest("nine")}));
  EXPECT_EQ(remotes_.seen("/base", "a:1").value().revision, 5u);
  EXPECT_EQ(remotes_.seen("/base", "a:1").value().manifest, manifest("five"));
  EXPECT_EQ(remotes_.seen("/base", "b:1").value().revision, 1u);
  EXPECT_EQ(remotes_.seen("/elsewhere", "a:1").value().revision, 9u);
  EXPECT_EQ(remotes_.seen("/base", "c:1").value().revision, 0u);
}

TEST_F(RemotesOfUser, ForgetNothingForSomethingOlder) {
  ASSERT_TRUE(remotes_.remember("/base", "a:1", {5, manifest("five")}));
  ASSERT_TRUE(remotes_.remember("/base", "a:1", {4, manifest("four")}));
  EXPECT_EQ(remotes_.seen("/base", "a:1").value().revision, 5u);
  ASSERT_TRUE(remotes_.remember("/base", "a:1", {cdn::kMaxRevision, manifest("last")}));
  EXPECT_EQ(remotes_.seen("/base", "a:1").value().revision, cdn::kMaxRevision);
}

TEST_F(RemotesOfUser, RememberForSeveralAtATime) {
  {
    std::vector<std::jthread> pulls;
    for (int i = 0; i < 8; ++i)
      pulls.emplace_back([&, i] {
        EXPECT_TRUE(remotes_.remember("/base", std::to_string(i) + ":1", {1, manifest("one")}));
      });
  }
  for (int i = 0; i < 8; ++i) EXPECT_EQ(remotes_.seen("/base", std::to_string(i) + ":1").value().revision, 1u) << i;
}

TEST_F(RemotesOfUser, DoNotTakeADamagedMemoryForNone) {
  ASSERT_TRUE(remotes_.remember("/base", "a:1", {5, manifest("five")}));
  for (const auto& entry : std::filesystem::directory_iterator{dir_ / "seen"})
    if (entry.path().extension() == ".json") std::filesystem::resize_file(entry.path(), 20);
  EXPECT_EQ(remotes_.seen("/base", "a:1").error().code, Errc::corrupt);
  EXPECT_FALSE(remotes_.remember("/base", "a:1", {6, manifest("six")}));
}

TEST_F(RemotesOfUser, MakeTheDefaultKeyOnce) {
  const auto first = remotes_.key("").value().public_key();
  EXPECT_EQ(remotes_.key("").value().public_key(), first);
  struct stat status {};
  ASSERT_EQ(::stat(remotes_.default_key().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(remotes_.key(dir_ / "none").error().code, Errc::not_found) << "one that was asked for is not made";
}

TEST_F(RemotesOfUser, MakeOneDefaultKeyForSeveralAtATime) {
  std::vector<cdn::PublicKey> keys(8);
  {
    std::vector<std::jthread> publishes;
    for (cdn::PublicKey& key : keys) publishes.emplace_back([&] { key = remotes_.key("").value().public_key(); });
  }
  for (const cdn::PublicKey& key : keys) EXPECT_EQ(key, keys[0]);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator{dir_.path()}) files += entry.exists() ? 1 : 0;
  EXPECT_EQ(files, 1u) << "nothing else is left";
}

}  // namespace
}  // namespace stellarium::cli
