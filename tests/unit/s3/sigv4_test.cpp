// Against what Amazon has published: the examples of "Signature Calculations for the Authorization Header" in the S3
// API reference (those of the bucket examplebucket), and cases of the Signature Version 4 test suite.
#include "cdn/s3/sigv4.h"

#include <gtest/gtest.h>

namespace stellarium::cdn::s3 {
namespace {

constexpr const char* kEmpty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string signature_of(const std::string& authorization) {
  return authorization.substr(authorization.rfind('=') + 1);
}

/// A request of the S3 examples.
std::string s3_example(std::string_view method, std::string_view path, const Fields& query, Fields headers,
                       const std::string& hash) {
  const Credentials credentials{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
  headers.emplace_back("host", "examplebucket.s3.amazonaws.com");
  headers.emplace_back("x-amz-date", "20130524T000000Z");
  headers.emplace_back("x-amz-content-sha256", hash);
  return authorization({method, path, query, headers, hash}, credentials, {"us-east-1"}, "20130524T000000Z");
}

/// A request of the test suite, whose service is none of Amazon's.
std::string suite_case(std::string_view method, const Fields& query, Fields headers = {}) {
  const Credentials credentials{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""};
  headers.emplace_back("host", "example.amazonaws.com");
  headers.emplace_back("x-amz-date", "20150830T123600Z");
  return authorization({method, "/", query, headers, kEmpty}, credentials, {"us-east-1", "service"},
                       "20150830T123600Z");
}

TEST(SigV4, IsThatOfS3sExampleOfReadingAPart) {
  EXPECT_EQ(s3_example("GET", "/test.txt", {}, {{"range", "bytes=0-9"}}, kEmpty),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST(SigV4, IsThatOfS3sExampleOfWriting) {
  const std::string hash = sha256_hex(as_bytes("Welcome to Amazon S3."));
  EXPECT_EQ(hash, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
  const Fields headers{{"date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
  EXPECT_EQ(signature_of(s3_example("PUT", "/test$file.text", {}, headers, hash)),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST(SigV4, IsThatOfS3sExampleOfAQueryWithoutAValue) {
  EXPECT_EQ(signature_of(s3_example("GET", "/", {{"lifecycle", ""}}, {}, kEmpty)),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST(SigV4, IsThatOfS3sExampleOfListing) {
  EXPECT_EQ(signature_of(s3_example("GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {}, kEmpty)),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST(SigV4, IsThatOfTheTestSuite) {
  EXPECT_EQ(signature_of(suite_case("GET", {})), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  EXPECT_EQ(signature_of(suite_case("POST", {})), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
  // get-vanilla-query-order-key-case
  EXPECT_EQ(signature_of(suite_case("GET", {{"Param2", "value2"}, {"Param1", "value1"}})),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

TEST(SigV4, TakesBlanksAroundAndInValuesForOne) {
  EXPECT_EQ(suite_case("GET", {}, {{"my-header1", " a   b "}}), suite_case("GET", {}, {{"my-header1", "a b"}}));
  EXPECT_NE(suite_case("GET", {}, {{"my-header1", "ab"}}), suite_case("GET", {}, {{"my-header1", "a b"}}));
}

TEST(SigV4, EncodesAllButUnreservedCharacters) {
  EXPECT_EQ(uri_encoded("a-b.c_d~e/f", true), "a-b.c_d~e/f");
  EXPECT_EQ(uri_encoded("a/b", false), "a%2Fb");
  EXPECT_EQ(uri_encoded("a+b c=\xc3\xa4", true), "a%2Bb%20c%3D%C3%A4");
}

TEST(SigV4, SortsAQueryByItsEncodedNames) {
  EXPECT_EQ(canonical_query({{"b", "2"}, {"a", "x y"}, {"B", ""}}), "B=&a=x%20y&b=2");
  EXPECT_EQ(canonical_query({}), "");
}

TEST(SigV4, WritesTimesInGmt) {
  EXPECT_EQ(amz_time(1369353600), "20130524T000000Z");
  EXPECT_EQ(amz_time(0), "19700101T000000Z");
}

}  // namespace
}  // namespace stellarium::cdn::s3
