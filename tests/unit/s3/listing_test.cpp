#include "cdn/s3/listing.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

namespace stellarium::cdn::s3 {
namespace {

std::string contents(const std::string& key, const std::string& size = "3") {
  return "<Contents><Key>" + key +
         "</Key><LastModified>2026-11-30T01:02:03.456Z</LastModified><ETag>\"x\"</ETag><Size>" + size +
         "</Size><StorageClass>STANDARD</StorageClass></Contents>";
}

std::string page(const std::string& inside) {
  return "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" + inside +
         "</ListBucketResult>";
}
const std::string kLast = "<IsTruncated>false</IsTruncated>";

std::string more(const std::string& token) {
  return "<IsTruncated>true</IsTruncated><NextContinuationToken>" + token + "</NextContinuationToken>";
}

/// What a walk below "images/" finds in these pages, one after the other; the last outcome.
struct Walked {
  explicit Walked(std::initializer_list<std::string> pages, const std::string& begin = "") : walk{"images/", begin} {
    for (const std::string& each : pages) {
      outcome = walk.take(page(each), [&](const ObjectTarget::Listed& listed) -> Result<void> {
        found.push_back(listed);
        return {};
      });
      if (!outcome) return;
    }
  }
  ListingWalk walk;
  Result<void> outcome;
  std::vector<ObjectTarget::Listed> found;
};

TEST(Listing, SaysPathsSizesAndTimes) {
  const Walked walked{contents("images/a", "0") + contents("images/b/c+d", "18446744073709551615") + kLast};
  ASSERT_TRUE(walked.outcome) << to_string(walked.outcome.error());
  ASSERT_EQ(walked.found.size(), 2u);
  EXPECT_EQ(walked.found[0].path, "a");
  EXPECT_EQ(walked.found[0].written, 1796000523);
  EXPECT_EQ(walked.found[1].path, "b/c+d");
  EXPECT_EQ(walked.found[1].size, UINT64_MAX);
  EXPECT_TRUE(walked.walk.ended());
}

TEST(Listing, AsksForOnePageAfterTheOther) {
  ListingWalk walk{"images/", "blobs/"};
  EXPECT_EQ(canonical_query(walk.query()), "encoding-type=url&list-type=2&max-keys=1000&prefix=images%2Fblobs%2F");
  const auto nothing = [](const ObjectTarget::Listed&) -> Result<void> { return {}; };
  ASSERT_TRUE(walk.take(page(contents("images/blobs/1") + more("t/1==")), nothing));
  EXPECT_FALSE(walk.ended());
  EXPECT_EQ(canonical_query(walk.query()),
            "continuation-token=t%2F1%3D%3D&encoding-type=url&list-type=2&max-keys=1000&prefix=images%2Fblobs%2F");
}

TEST(Listing, DecodesKeysIfTheServerHasEncodedThem) {
  const std::string encoding = "<EncodingType>url</EncodingType><Prefix>images%2F</Prefix>";
  const Walked walked{encoding + contents("images%2Fa%2Bb") + contents("images/c") + kLast};
  ASSERT_TRUE(walked.outcome) << to_string(walked.outcome.error());
  EXPECT_EQ(walked.found[0].path, "a+b");
  EXPECT_FALSE((Walked{encoding + contents("images%2") + kLast}.outcome));
  EXPECT_FALSE((Walked{encoding + contents("images/%zz") + kLast}.outcome));
}

TEST(Listing, SkipsMarkersOfFolders) {
  const Walked walked{contents("images/", "0") + contents("images/blobs/", "0") + contents("images/blobs/1") + kLast};
  ASSERT_TRUE(walked.outcome) << to_string(walked.outcome.error());
  ASSERT_EQ(walked.found.size(), 1u);
  EXPECT_EQ(walked.found[0].path, "blobs/1");
}

TEST(Listing, RefusesKeysThatAreNoPathsOfObjects) {
  for (const char* key : {"images/../etc/passwd", "images/a/../../b", "images//a", "images/.a", "images/a b",
                          "images/a/", "images/a\\b", "images/\xc3\xa4"}) {
    const Walked walked{contents(key) + kLast};
    ASSERT_FALSE(walked.outcome) << key;
    EXPECT_EQ(walked.outcome.error().code, Errc::invalid_argument);
    EXPECT_TRUE(walked.found.empty());
  }
}

TEST(Listing, RefusesKeysThatWereNotAskedFor) {
  EXPECT_FALSE((Walked{contents("other/a") + kLast}.outcome));
  EXPECT_FALSE((Walked{{contents("images/manifests/a") + kLast}, "blobs/"}.outcome));
  EXPECT_FALSE((Walked{contents("") + kLast}.outcome));
}

TEST(Listing, NoticesRepeatedAndReorderedKeysAndPages) {
  const std::string first = contents("images/a") + contents("images/b");
  EXPECT_TRUE((Walked{first + more("1"), contents("images/c") + kLast}.outcome));
  EXPECT_FALSE((Walked{first + more("1"), first + more("2")}.outcome));
  EXPECT_FALSE((Walked{first + more("1"), contents("images/b") + kLast}.outcome));
  EXPECT_FALSE((Walked{contents("images/b") + contents("images/a") + kLast}.outcome));
}

TEST(Listing, NoticesAPageOfAnotherRequest) {
  EXPECT_FALSE((Walked{"<Prefix>other/</Prefix>" + kLast}.outcome));
  const std::string first = contents("images/a") + more("1");
  EXPECT_TRUE((Walked{first, "<ContinuationToken>1</ContinuationToken>" + contents("images/b") + kLast}.outcome));
  EXPECT_FALSE((Walked{first, "<ContinuationToken>2</ContinuationToken>" + contents("images/c") + kLast}.outcome));
}

TEST(Listing, NoticesAPageThatIsNotWhole) {
  EXPECT_FALSE((Walked{"<KeyCount>2</KeyCount>" + contents("images/a") + kLast}.outcome));
  EXPECT_FALSE((Walked{contents("images/a")}.outcome));
  EXPECT_FALSE((Walked{"<IsTruncated>true</IsTruncated>"}.outcome));
  EXPECT_FALSE((Walked{"<IsTruncated>maybe</IsTruncated>"}.outcome));
  EXPECT_FALSE((Walked{kLast + kLast}.outcome));
  EXPECT_FALSE((Walked{contents("images/a", "") + kLast}.outcome));
  EXPECT_FALSE((Walked{contents("images/a", "-1") + kLast}.outcome));
  EXPECT_FALSE((Walked{contents("images/a", "18446744073709551616") + kLast}.outcome));
}

TEST(Listing, RefusesMoreKeysThanWereAskedFor) {
  std::string full;
  for (int key = 1000; key < 2000; ++key) full += contents("images/" + std::to_string(key));
  EXPECT_TRUE((Walked{full + kLast}.outcome));
  EXPECT_FALSE((Walked{full + contents("images/2000") + kLast}.outcome));
}

TEST(Listing, EndsWithAServerThatHasNothingToSayButNoEnd) {
  ListingWalk walk{"", ""};
  const auto nothing = [](const ObjectTarget::Listed&) -> Result<void> { return {}; };
  Result<void> outcome;
  int pages = 0;
  for (; outcome && pages < 5000; ++pages) outcome = walk.take(page(more(std::to_string(pages % 2))), nothing);
  EXPECT_FALSE(outcome);
  EXPECT_LE(pages, 1002);
  EXPECT_FALSE((Walked{contents("images/a") + more("1"), contents("images/b") + more("1")}.outcome));
}

TEST(Listing, ThatIsAnotherDocumentIsRefused) {
  ListingWalk walk{"", ""};
  const auto nothing = [](const ObjectTarget::Listed&) -> Result<void> { return {}; };
  for (const char* document : {"", "<html/>", "<ListAllMyBucketsResult/>",
                               "<ListBucketResultX><IsTruncated>false</IsTruncated></ListBucketResultX>"})
    EXPECT_FALSE(walk.take(document, nothing)) << document;
}

TEST(Listing, ReadsOnlyTimesThatAreTimes) {
  EXPECT_EQ(seconds_of("1970-01-01T00:00:01.000Z"), 1);
  EXPECT_EQ(seconds_of("2024-02-29T23:59:59Z"), 1709251199);
  for (const char* text : {"", "2026", "2026-11-30 01:02:03Z", "2026-13-30T01:02:03Z", "2026-11-30T25:02:03Z",
                           "2026-11-30T01:02:03", "+026-11-30T01:02:03Z", "2026-11-00T01:02:03Z"})
    EXPECT_FALSE(seconds_of(text)) << text;
}

}  // namespace
}  // namespace stellarium::cdn::s3
