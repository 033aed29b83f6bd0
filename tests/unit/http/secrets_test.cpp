#include "cdn/http/secrets.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/temp_dir.h"

namespace stellarium::cdn::http {
namespace {

class SecretsTest : public testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& text) {
    std::ofstream{dir / name} << text;
    return dir / name;
  }
  const test::TempDir dir;
  Options options;
};

TEST_F(SecretsTest, ATokenIsOneLine) {
  options.token_file = file("token", "abc.DEF-123\n");
  EXPECT_EQ(Secrets::read(options)->token(), "abc.DEF-123");
  for (const char* text : {"", "\n", "two\nlines\n", "two words\n", "tab\tin it"}) {
    options.token_file = file("token", text);
    const auto read = Secrets::read(options);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, Errc::invalid_argument);
    EXPECT_EQ(read.error().context.find("two"), std::string::npos);
  }
}

TEST_F(SecretsTest, AMissingFileIsNamed) {
  options.token_file = dir / "none";
  const auto read = Secrets::read(options);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::not_found);
  EXPECT_NE(read.error().context.find("none"), std::string::npos);
}

TEST_F(SecretsTest, ACertificateNeedsItsKey) {
  options.certificate_file = file("certificate", "-----BEGIN CERTIFICATE-----\n");
  EXPECT_EQ(Secrets::read(options).error().code, Errc::invalid_argument);
  options.key_file = file("key", "-----BEGIN PRIVATE KEY-----\n");
  EXPECT_TRUE(Secrets::read(options));
  options.key_file = file("key", "binary");
  EXPECT_EQ(Secrets::read(options).error().code, Errc::invalid_argument);
}

TEST_F(SecretsTest, ANewTokenIsTakenFromItsFile) {
  options.token_file = file("token", "old");
  auto secrets = Secrets::read(options);
  EXPECT_FALSE(secrets->renew_token());
  file("token", "new");
  EXPECT_TRUE(secrets->renew_token());
  EXPECT_EQ(secrets->token(), "new");
  file("token", "");  // as it is being written
  EXPECT_FALSE(secrets->renew_token());
  EXPECT_EQ(secrets->token(), "new");
}

TEST(Address, NamesWhoIsSpokenTo) {
  EXPECT_EQ(parse_address("https://Host.Example/a?secret=1")->name(), "https://host.example");
  EXPECT_EQ(parse_address("http://[::1]:8080/")->name(), "http://[::1]:8080");
  EXPECT_EQ(*parse_address("https://host:443/a"), *parse_address("https://HOST/b"));
  EXPECT_NE(*parse_address("https://host:444/"), *parse_address("https://host/"));
  EXPECT_NE(*parse_address("http://host/"), *parse_address("https://host/"));
}

TEST(Address, OthersAreRefusedWithoutBeingQuoted) {
  for (const char* url : {"", "host", "file:///secret", "ftp://secret/", "https://user:secret@host/",
                          "https://secret@host", "https://", "scp://secret", "dict://secret:1/"}) {
    const auto address = parse_address(url);
    ASSERT_FALSE(address) << url;
    EXPECT_EQ(address.error().code, Errc::invalid_argument);
    EXPECT_EQ(address.error().context.find("secret"), std::string::npos);
  }
}

TEST(Address, OnlyThisHostIsLocal) {
  for (const char* url : {"http://localhost:1", "http://127.0.0.1", "http://127.1.2.3:9/", "http://[::1]/"})
    EXPECT_TRUE(parse_address(url)->local()) << url;
  for (const char* url : {"http://127.example.org", "http://localhost.example.org", "http://10.0.0.1", "http://[::2]"})
    EXPECT_FALSE(parse_address(url)->local()) << url;
}

TEST(Address, AnOriginHasNoQuery) {
  EXPECT_EQ(parse_origin("https://host/folder//")->url("a/b"), "https://host/folder/a/b");
  EXPECT_FALSE(parse_origin("https://host/?key=1"));
  EXPECT_FALSE(parse_origin("https://host/#part"));
}

TEST(Address, AProxyHasNoUser) {
  EXPECT_TRUE(check_proxy("http://proxy:3128"));
  EXPECT_TRUE(check_proxy("socks5h://proxy:1080"));
  EXPECT_FALSE(check_proxy("http://user:secret@proxy:3128"));
  EXPECT_FALSE(check_proxy("file:///proxy"));
}

}  // namespace
}  // namespace stellarium::cdn::http
