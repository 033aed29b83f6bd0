#include "tools/cli/remote_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "support/temp_dir.h"

namespace stellarium::cli {
namespace {

using testing::HasSubstr;

class RemoteSources : public testing::Test {
 protected:
  RemoteSources() {
    Remote ours{.name = "ours", .access = {}, .repository = "r", .keys = {}};
    ours.access.bases = {"https://images.example/x"};
    EXPECT_TRUE(remotes_.save(ours));
  }
  Result<RemoteSource> parse(const std::string& text) { return parse_source(text, {}, remotes_); }
  std::string base_of(const std::string& text) {
    const auto source = parse(text);
    EXPECT_TRUE(source) << text << ": " << (source ? "" : source.error().context);
    return source ? source->remote.access.bases.front() : "";
  }

  test::TempDir dir_;
  const Remotes remotes_{dir_.path()};
  const std::string id_ = std::string(64, 'c');
};

TEST_F(RemoteSources, AreARemoteAndAName) {
  const auto source = parse("ours/debian:12").value();
  EXPECT_EQ(source.remote.name, "ours");
  EXPECT_EQ(source.remote.repository, "r");
  EXPECT_EQ(source.remote.access.bases.front(), "https://images.example/x");
  EXPECT_EQ(source.name, "debian:12");
  EXPECT_EQ(source.manifest, std::nullopt);
  EXPECT_EQ(parse("ours/debian").value().name, "debian:latest");
}

TEST_F(RemoteSources, AreAnAddressAndAName) {
  EXPECT_EQ(base_of("/srv/www/debian:12"), "/srv/www");
  EXPECT_EQ(base_of("/srv/www/../other/debian:12"), "/srv/other");
  EXPECT_EQ(base_of("./www/debian"), (std::filesystem::current_path() / "www").string());
  EXPECT_EQ(base_of("https://host.example/a/b/debian:12"), "https://host.example/a/b");
  EXPECT_EQ(base_of("http://host.example:8080/debian"), "http://host.example:8080");
  EXPECT_EQ(base_of("s3://bucket/prefix/debian"), "s3://bucket/prefix");
  EXPECT_EQ(parse("/srv/www/debian:12").value().remote.name, "");
}

TEST_F(RemoteSources, AreARemoteAndAManifest) {
  for (const std::string base : {"ours", "/srv/www", "https://host.example/x"}) {
    const auto source = parse(base + "@" + id_).value();
    EXPECT_EQ(source.manifest->hex(), id_);
    EXPECT_EQ(source.name, "");
  }
  EXPECT_EQ(base_of("/srv/www/@" + id_), "/srv/www");
}

TEST_F(RemoteSources, ThatNameNothingAreRefused) {
  for (const std::string text :
       {"", "debian", "debian:12", "/debian", "ours/", "ours/.hidden", "ours/a b", "ours/a:b:c", "https://host.example",
        "https:///debian", "ftp://host/debian", "ours@abc"})
    EXPECT_EQ(parse(text).error().code, Errc::invalid_argument) << text;
  EXPECT_EQ(parse("ours@" + std::string(64, 'C')).error().code, Errc::invalid_argument) << "upper case";
  const auto unknown = parse("theirs/debian");
  EXPECT_EQ(unknown.error().code, Errc::not_found);
  EXPECT_THAT(unknown.error().context, HasSubstr("theirs"));
}

TEST_F(RemoteSources, HaveNoPasswordsAndRepeatNone) {
  for (const std::string text : {"https://user:secret@host.example/debian", "https://secret@host.example/debian"}) {
    const auto refused = parse(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, Errc::invalid_argument);
    EXPECT_THAT(refused.error().context, testing::Not(HasSubstr("secret")));
  }
}

TEST_F(RemoteSources, OfTheUserHaveTheAccessThatTheyWereMadeWith) {
  transport::RemoteAccess access;
  access.token_file = "/etc/token";
  EXPECT_FALSE(parse_source("ours/debian", access, remotes_));
  EXPECT_EQ(parse_source("https://host.example/debian", access, remotes_).value().remote.access.token_file,
            "/etc/token");
}

TEST_F(RemoteSources, ThatAreWebServersCannotBePublishedTo) {
  EXPECT_EQ(parse_target("ours", {}, remotes_).error().code, Errc::not_supported);
  EXPECT_EQ(parse_target("https://host.example/x", {}, remotes_).error().code, Errc::not_supported);
  EXPECT_TRUE(parse_target("/srv/www", {}, remotes_));
  EXPECT_TRUE(parse_target("s3://bucket/prefix", {}, remotes_));
}

TEST(RecordPath, IsTheNamesOwn) {
  EXPECT_EQ(record_path("debian:12").value(), "names/debian/12");
  EXPECT_EQ(record_path("a.b_c-d").value(), "names/a.b_c-d/latest");
  for (const char* name : {"", "../x", "a/b", ".a", "a:.b", "a:", ":1", "a b"}) EXPECT_FALSE(record_path(name)) << name;
}

TEST(RemoteAccess, SurvivesTheCommandLineOfTheTransport) {
  transport::RemoteAccess access;
  access.bases = {"https://one.example/a=b", "https://two.example"};
  access.ca_file = "/with space/ca.pem";
  access.token_file = "/token=file";
  EXPECT_EQ(transport::access_of(transport::words_of(access)), access);
}

TEST(RemoteAccess, IsOfOneKind) {
  const auto good = [](const std::vector<std::string>& bases) {
    transport::RemoteAccess access;
    access.bases = bases;
    return transport::access_of(transport::words_of(access)).has_value();
  };
  EXPECT_TRUE(good({"http://a", "https://b"}));
  EXPECT_TRUE(good({"/srv/www"}));
  EXPECT_FALSE(good({}));
  EXPECT_FALSE(good({""}));
  EXPECT_FALSE(good({"/srv/a", "/srv/b"}));
  EXPECT_FALSE(good({"s3://a", "s3://b"}));
  EXPECT_FALSE(good({"http://a", "/srv/b"}));
  EXPECT_FALSE(transport::access_of({"--base=/srv/www", "--unknown=1"}));
}

}  // namespace
}  // namespace stellarium::cli
