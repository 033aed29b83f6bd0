#include "cdn/s3/credentials.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <map>

#include "support/temp_dir.h"

namespace stellarium::cdn::s3 {
namespace {

constexpr const char* kFile =
    "# written by hand\n"
    "[default]\n"
    "aws_access_key_id = KEY\n"
    "aws_secret_access_key=s3cret/+=\n"
    "\n"
    "; the short-lived ones\n"
    "[ temporary ]\n"
    "region = eu-west-1\n"
    "aws_access_key_id = TEMP\r\n"
    "aws_secret_access_key = other\n"
    "aws_session_token = t/o+k=\n"
    "[half]\n"
    "aws_access_key_id = ONLY\n";

class CredentialsTest : public ::testing::Test {
 protected:
  Result<Credentials> find(CredentialSources sources = {}) {
    sources.environment = [this](const char* name) -> const char* {
      const auto found = environment_.find(name);
      return found == environment_.end() ? nullptr : found->second.c_str();
    };
    return find_credentials(sources);
  }
  std::string file(const std::string& text) {
    std::ofstream{folder_ / "credentials"} << text;
    return folder_ / "credentials";
  }

  test::TempDir folder_;
  std::map<std::string, std::string> environment_;
};

TEST_F(CredentialsTest, ComeFromTheEnvironment) {
  environment_ = {{"AWS_ACCESS_KEY_ID", "KEY"}, {"AWS_SECRET_ACCESS_KEY", "secret"}};
  const auto found = find();
  ASSERT_TRUE(found) << to_string(found.error());
  EXPECT_EQ(found->key_id, "KEY");
  EXPECT_EQ(found->secret, "secret");
  EXPECT_EQ(found->session_token, "");
  environment_["AWS_SESSION_TOKEN"] = "token";
  EXPECT_EQ(find()->session_token, "token");
}

TEST_F(CredentialsTest, ComeFromAProfileOfAFile) {
  environment_["AWS_SHARED_CREDENTIALS_FILE"] = file(kFile);
  EXPECT_EQ(find()->secret, "s3cret/+=");
  environment_["AWS_PROFILE"] = "temporary";
  const auto found = find();
  ASSERT_TRUE(found) << to_string(found.error());
  EXPECT_EQ(found->key_id, "TEMP");
  EXPECT_EQ(found->session_token, "t/o+k=");
}

TEST_F(CredentialsTest, ComeFromTheUsualFileIfNoneIsNamed) {
  environment_["HOME"] = folder_.path();
  std::filesystem::create_directory(folder_ / ".aws");
  std::filesystem::rename(file(kFile), folder_ / ".aws/credentials");
  EXPECT_EQ(find()->key_id, "KEY");
}

TEST_F(CredentialsTest, OfAProfileThatWasAskedForGoBeforeTheEnvironment) {
  environment_ = {{"AWS_ACCESS_KEY_ID", "ENVIRONMENT"}, {"AWS_SECRET_ACCESS_KEY", "secret"}};
  EXPECT_EQ(find({.file = file(kFile)})->key_id, "KEY");
  environment_["AWS_SHARED_CREDENTIALS_FILE"] = file(kFile);
  EXPECT_EQ(find({.profile = "temporary"})->key_id, "TEMP");
  EXPECT_EQ(find()->key_id, "ENVIRONMENT");
}

TEST_F(CredentialsTest, ThatAreNotThereAreMissedWithWhatToDo) {
  environment_["HOME"] = folder_.path();
  const auto none = find();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::not_found);
  EXPECT_NE(none.error().context.find("AWS_ACCESS_KEY_ID"), std::string::npos);
  EXPECT_EQ(find({.file = folder_ / "absent"}).error().code, Errc::not_found);
  const auto no_profile = find({.file = file(kFile), .profile = "absent"});
  EXPECT_EQ(no_profile.error().code, Errc::not_found);
  EXPECT_NE(no_profile.error().context.find("[absent]"), std::string::npos);
}

TEST_F(CredentialsTest, ThatAreHalfThereAreRefused) {
  environment_ = {{"AWS_ACCESS_KEY_ID", "KEY"}};
  EXPECT_EQ(find().error().code, Errc::invalid_argument);
  environment_ = {{"AWS_SECRET_ACCESS_KEY", "secret"}};
  EXPECT_EQ(find().error().code, Errc::invalid_argument);
  EXPECT_EQ(find({.file = file(kFile), .profile = "half"}).error().code, Errc::invalid_argument);
}

TEST_F(CredentialsTest, ThatWouldBeAnotherHeaderAreRefusedUnquoted) {
  for (const char* secret : {"a b", "sec\nret", "sec\tret", "s\xc3\xa4", "\x7f"}) {
    environment_ = {{"AWS_ACCESS_KEY_ID", "KEY"}, {"AWS_SECRET_ACCESS_KEY", secret}};
    const auto found = find();
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Errc::invalid_argument);
    EXPECT_EQ(found.error().context.find(secret), std::string::npos);
  }
}

TEST_F(CredentialsTest, AreNoWordOfAnErrorAboutTheirFile) {
  for (const char* text : {"[default]\naws_secret_access_key hunter2\n", "[default\naws_secret_access_key=hunter2\n",
                           "[default]\naws_secret_access_key=hunter2\n[default]\n", "hunter2"}) {
    const auto found = parse_credentials(text, "default");
    ASSERT_FALSE(found) << text;
    EXPECT_EQ(found.error().context.find("hunter2"), std::string::npos);
    EXPECT_EQ(found.error().code, Errc::invalid_argument);
  }
}

TEST_F(CredentialsTest, AreNotWaitedForAtAPipeOrReadFromAFileWithoutEnd) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(find({.file = folder_ / "pipe"}).error().code, Errc::invalid_argument);
  EXPECT_EQ(find({.file = "/dev/zero"}).error().code, Errc::invalid_argument);
  EXPECT_EQ(find({.file = file(std::string(300u << 10, '\n'))}).error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace stellarium::cdn::s3
