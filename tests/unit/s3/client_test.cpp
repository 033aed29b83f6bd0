// What the client does with answers that are none, and what it says of refusals.
#include <fstream>

#include "support/temp_dir.h"
#include "unit/s3/target_fixture.h"

namespace stellarium::cdn::s3 {
namespace {

class S3ClientTest : public S3TargetTest {
 protected:
  /// The first `times` requests are answered so.
  void first(int times, S3Answer answer) {
    instead_ = [times, answer](const S3Question&) mutable -> std::optional<S3Answer> {
      if (times-- <= 0) return std::nullopt;
      return answer;
    };
  }
  Error refused_with(S3Answer answer) {
    instead_ = [answer](const S3Question&) { return answer; };
    const auto written = replace("a", "x");
    return written ? Error{Errc::io, "it was not refused"} : written.error();
  }
  std::string where() const { return "writing a: " + answers_.endpoint() + "/images: "; }
};

TEST_F(S3ClientTest, TriesAgainWhenTheServerIsBusy) {
  for (const S3Answer& answer :
       {S3Answer{503}, FakeS3::refusal(503, "SlowDown"), S3Answer{500}, S3Answer{502}, S3Answer{504}, S3Answer{429},
        FakeS3::refusal(400, "RequestTimeout"), FakeS3::refusal(409, "ConditionalRequestConflict"),
        FakeS3::refusal(409, "OperationAborted")}) {
    first(3, answer);
    EXPECT_EQ(text(keep("a" + std::to_string(fake_.objects.size()), "x")), "success") << answer.status << answer.body;
  }
  EXPECT_EQ(target().counters().retries, 27u);
  EXPECT_EQ(target().counters().refused, 18u);
  EXPECT_EQ(target().counters().requests, 36u);
}

TEST_F(S3ClientTest, TriesAgainWhenTheConnectionBreaks) {
  first(3, {.ending = S3Answer::Ending::closed});
  EXPECT_EQ(text(replace("a", "content")), "success");
  EXPECT_EQ(target().counters().broken, 3u);
  first(3, {200, "half of this", {}, S3Answer::Ending::cut});
  EXPECT_EQ(**target().read("a", 100), "content");
  EXPECT_EQ(target().counters().retries, 6u);
}

TEST_F(S3ClientTest, GivesUpAfterAllTriesAndSaysSo) {
  first(1000, FakeS3::refusal(503, "SlowDown", "reduce your rate"));
  const auto written = replace("a", "x");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::unavailable);
  EXPECT_EQ(written.error().context, where() + "the server refused: reduce your rate (503 SlowDown) (4 tries)");
  EXPECT_EQ(asked("PUT"), 4u);
  first(1000, {.ending = S3Answer::Ending::closed});
  const auto broken = replace("a", "x");
  EXPECT_EQ(broken.error().code, Errc::unavailable);
  EXPECT_NE(broken.error().context.find("(4 tries)"), std::string::npos) << broken.error().context;
}

TEST_F(S3ClientTest, SaysThatNobodyListens) {
  Options with = options();
  {
    test::S3Answers gone{[](const S3Question&) { return S3Answer{}; }};
    with.endpoint = gone.endpoint();
  }
  open(with);
  const auto written = replace("a", "x");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::unavailable);
  EXPECT_EQ(target().counters().broken, 4u);
}

TEST_F(S3ClientTest, DoesNotWaitForAServerThatSaysNothing) {
  Options with = options();
  with.stalled = std::chrono::seconds{1};
  with.tries = 1;
  open(with);
  first(1000, {.ending = S3Answer::Ending::silent});
  EXPECT_EQ(replace("a", "x").error().code, Errc::unavailable);
  EXPECT_EQ(target().counters().timed_out, 1u);
}

TEST_F(S3ClientTest, WaitsAsLongAsItIsAskedToButNotLonger) {
  first(1, {503, "", {{"retry-after", "86400"}}});
  EXPECT_EQ(text(replace("a", "x")), "success");  // the longest wait is 1 ms here
}

TEST_F(S3ClientTest, TakesARepeatedCreateThatArrivedTheFirstTimeForDone) {
  instead_ = [this, lost = false](const S3Question& question) mutable -> std::optional<S3Answer> {
    if (std::exchange(lost, true)) return std::nullopt;
    fake_(question);
    return S3Answer{.ending = S3Answer::Ending::closed};
  };
  EXPECT_EQ(text(keep("a", "hello")), "success");
  EXPECT_EQ(fake_.objects.at("a"), "hello");
  EXPECT_EQ(asked("PUT"), 2u);
}

TEST_F(S3ClientTest, KeepsABoundedPartOfHeaderLinesAndRefusals) {
  S3Answer answer;
  for (char name = 'a'; name < 'k'; ++name) answer.headers[std::string{"x-"} + name] = std::string(7000, 'x');
  const Error headers = refused_with(answer);
  EXPECT_EQ(headers.code, Errc::unavailable);
  EXPECT_EQ(headers.context, where() + "its header lines are larger than 64 KiB");
  EXPECT_EQ(answers_.questions().size(), 1u);
  const Error body = refused_with({400, std::string(300u << 10, 'x')});
  EXPECT_EQ(body.context, where() + "the server refused (400)");
}

TEST_F(S3ClientTest, FollowsNoRedirection) {
  const Error error = refused_with({302, "", {{"location", "http://127.0.0.1:1/"}}});
  EXPECT_EQ(error.context, where() + "the server refused (302)");
  EXPECT_EQ(answers_.questions().size(), 1u);
}

TEST_F(S3ClientTest, SaysWhichKeyIsWrong) {
  Error error = refused_with(FakeS3::refusal(403, "InvalidAccessKeyId"));
  EXPECT_EQ(error.code, Errc::permission);
  EXPECT_EQ(error.context, where() +
                               "the server does not know the access key: correct AWS_ACCESS_KEY_ID or the "
                               "credentials file (403 InvalidAccessKeyId)");
  error = refused_with(FakeS3::refusal(403, "SignatureDoesNotMatch"));
  EXPECT_EQ(error.context, where() +
                               "the secret key does not belong to the access key: correct AWS_SECRET_ACCESS_KEY or "
                               "the credentials file (403 SignatureDoesNotMatch)");
  error = refused_with(FakeS3::refusal(400, "ExpiredToken"));
  EXPECT_EQ(error.code, Errc::permission);
  EXPECT_EQ(error.context, where() + "the session token has expired: get new temporary keys (400 ExpiredToken)");
}

TEST_F(S3ClientTest, SaysInWhichRegionTheBucketIs) {
  S3Answer answer = FakeS3::refusal(400, "AuthorizationHeaderMalformed");
  answer.body.insert(answer.body.find("</Error>"), "<Region>eu-west-3</Region>");
  const std::string words =
      where() + "the bucket is in region eu-west-3, not in us-east-1: correct the region and the endpoint";
  EXPECT_EQ(refused_with(answer).context, words + " (400 AuthorizationHeaderMalformed)");
  EXPECT_EQ(refused_with({301, "", {{"x-amz-bucket-region", "eu-west-3"}}}).context, words + " (301)");
  EXPECT_EQ(refused_with({307}).context,
            where() + "the bucket is served elsewhere: correct the endpoint and the region (307)");
}

TEST_F(S3ClientTest, SaysByHowMuchTheClockIsWrong) {
  Options with = options();
  with.clock = [] { return std::int64_t{1796000523}; };
  open(with);
  S3Answer answer = FakeS3::refusal(403, "RequestTimeTooSkewed");
  answer.headers["date"] = "Mon, 30 Nov 2026 01:00:03 GMT";
  const Error error = refused_with(answer);
  EXPECT_EQ(error.code, Errc::permission);
  EXPECT_EQ(error.context,
            where() + "the clock of this host is 120 s ahead of the server's: set it (403 RequestTimeTooSkewed)");
  answer.headers["date"] = "Mon, 30 Nov 2026 02:02:03 GMT";
  EXPECT_NE(refused_with(answer).context.find("3600 s behind the server's"), std::string::npos);
}

TEST_F(S3ClientTest, TellsSpaceFromPermission) {
  EXPECT_EQ(refused_with(FakeS3::refusal(403, "QuotaExceeded")).code, Errc::out_of_space);
  EXPECT_EQ(refused_with({507}).code, Errc::out_of_space);
  EXPECT_EQ(refused_with(FakeS3::refusal(403, "AccessDenied")).code, Errc::permission);
  EXPECT_EQ(refused_with({401}).code, Errc::permission);
  EXPECT_EQ(refused_with({501}).code, Errc::not_supported);
  EXPECT_EQ(refused_with({418}).code, Errc::io);
}

TEST_F(S3ClientTest, SaysWhyAHeadWasRefusedThoughItsAnswerHasNoBody) {
  instead_ = [](const S3Question&) { return FakeS3::refusal(403, "ExpiredToken"); };
  const auto size = target().size_of("a");
  ASSERT_FALSE(size);
  EXPECT_NE(size.error().context.find("the session token has expired"), std::string::npos) << size.error().context;
}

TEST_F(S3ClientTest, NeverRepeatsKeysThatAServerSendsBack) {
  for (const std::string& key :
       {std::string{"THEKEYID"}, std::string{"THE/SECRET+KEY"}, std::string{"THE/SESSION/TOKEN"}}) {
    for (const std::size_t before : {std::size_t{0}, std::size_t{195}}) {  // also across where a message is cut off
      const std::string echo = std::string(before, ' ') + key;
      for (const S3Answer& answer : {FakeS3::refusal(400, echo, "you sent " + echo), FakeS3::refusal(503, echo, echo),
                                     S3Answer{301, "", {{"x-amz-bucket-region", echo}}}}) {
        const std::string context = refused_with(answer).context;
        EXPECT_EQ(context.find(key.substr(0, 5)), std::string::npos) << context;
      }
    }
  }
}

TEST_F(S3ClientTest, QuotesAServerInOneLine) {
  const std::string context =
      refused_with(FakeS3::refusal(400, "Strange", "two\nlines\x7f" + std::string(5000, 'x'))).context;
  EXPECT_EQ(context.find('\n'), std::string::npos);
  EXPECT_LT(context.size(), 500u);
}

TEST_F(S3ClientTest, TrustsNoServerWhoseCertificatesAreNotThere) {
  test::TempDir folder;
  std::ofstream{folder / "ca.pem"} << "no certificate\n";
  Options with = options();
  with.endpoint.replace(0, 4, "https");
  with.ca_file = folder / "ca.pem";
  open(with);
  const auto written = replace("a", "x");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::unavailable);
  EXPECT_TRUE(answers_.questions().empty());
}

}  // namespace
}  // namespace stellarium::cdn::s3
