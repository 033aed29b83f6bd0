#include "cdn/s3/options.h"

#include <gtest/gtest.h>

namespace stellarium::cdn::s3 {
namespace {

Options options(std::string endpoint, std::string bucket = "images") {
  Options made;
  made.endpoint = std::move(endpoint);
  made.bucket = std::move(bucket);
  return made;
}

TEST(S3Options, NameABucketByPath) {
  const auto address = address_of(options("http://127.0.0.1:9000/"));
  ASSERT_TRUE(address) << to_string(address.error());
  EXPECT_EQ(address->scheme, "http://");
  EXPECT_EQ(address->host, "127.0.0.1:9000");
  EXPECT_EQ(address->base_path, "/images/");
  EXPECT_EQ(address->key_prefix, "");
  EXPECT_EQ(address->shown, "http://127.0.0.1:9000/images");
}

TEST(S3Options, NameABucketByHost) {
  Options made = options("https://s3.example.org");
  made.addressing = Addressing::virtual_host;
  made.prefix = "team/a";
  const auto address = address_of(made);
  ASSERT_TRUE(address) << to_string(address.error());
  EXPECT_EQ(address->host, "images.s3.example.org");
  EXPECT_EQ(address->base_path, "/");
  EXPECT_EQ(address->key_prefix, "team/a/");
  made.bucket = "a.b.c";
  EXPECT_FALSE(address_of(made));
}

TEST(S3Options, ThatAreNoneAreRefused) {
  for (const char* endpoint : {"", "s3.example.org", "ftp://x", "https://", "https://a b", "https://a/b", "https://a?b",
                               "https://a#b", "http://a\nb", "file:///etc", "http://:80"})
    EXPECT_FALSE(address_of(options(endpoint))) << endpoint;
  for (const char* bucket : {"", "ab", "a/b", "../x", ".abc", "a..b", "a b c", "-abc", "abc?", "abc%2f"})
    EXPECT_FALSE(address_of(options("https://a", bucket))) << bucket;
  for (const char* prefix : {"/", "a/", "../a", "a//b", "a b"}) {
    Options made = options("https://a");
    made.prefix = prefix;
    EXPECT_FALSE(address_of(made)) << prefix;
  }
  Options made = options("https://a");
  made.region = "us east";
  EXPECT_FALSE(address_of(made));
}

TEST(S3Options, WithKeysInTheAddressAreRefusedUnquoted) {
  const auto address = address_of(options("https://KEY:hunter2@s3.example.org"));
  ASSERT_FALSE(address);
  EXPECT_EQ(address.error().context.find("hunter2"), std::string::npos);
  EXPECT_NE(address.error().context.find("environment"), std::string::npos);
}

}  // namespace
}  // namespace stellarium::cdn::s3
