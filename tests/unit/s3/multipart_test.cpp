#include "cdn/s3/multipart.h"

#include "support/random_bytes.h"
#include "unit/s3/target_fixture.h"

namespace stellarium::cdn::s3 {
namespace {

class S3MultipartTest : public S3TargetTest {
 protected:
  const std::string large_{as_text(test::random_bytes(/*seed=*/3, 175))};  // 40 + 40 + 40 + 40 + 15
};

TEST_F(S3MultipartTest, LargeObjectsGoUpInParts) {
  EXPECT_EQ(text(keep("blobs/1", large_)), "success");
  EXPECT_EQ(fake_.objects.at("blobs/1"), large_);
  EXPECT_TRUE(fake_.uploads.empty());
  EXPECT_EQ(asked("PUT"), 5u);
  EXPECT_EQ(text(replace("blobs/1", std::string(101, 'x'))), "success");
  EXPECT_EQ(fake_.objects.at("blobs/1"), std::string(101, 'x'));
  EXPECT_EQ(text(replace("blobs/1", std::string(100, 'y'))), "success");
  EXPECT_EQ(answers_.questions().back().method, "PUT");
}

TEST_F(S3MultipartTest, WhatIsThereIsKeptWithoutSendingAnyPart) {
  fake_.objects["blobs/1"] = std::string(large_.size(), 'x');
  EXPECT_EQ(text(keep("blobs/1", large_)), "success");
  EXPECT_EQ(asked("PUT") + asked("POST"), 0u);
  fake_.objects["blobs/1"] = "damaged";
  EXPECT_EQ(keep("blobs/1", large_).error().code, Errc::exists);
}

TEST_F(S3MultipartTest, WhatAppearsMeanwhileIsKept) {
  for (const bool same_size : {true, false}) {
    const std::string other(same_size ? large_.size() : 5, 'x');
    fake_.objects.clear();
    instead_ = [&](const S3Question& question) -> std::optional<S3Answer> {
      if (question.method == "PUT") fake_.objects["blobs/1"] = other;
      return std::nullopt;
    };
    const auto kept = keep("blobs/1", large_);
    EXPECT_EQ(text(kept).substr(0, 7), same_size ? "success" : "exists:");
    EXPECT_EQ(fake_.objects.at("blobs/1"), other);
    EXPECT_TRUE(fake_.uploads.empty());
  }
}

TEST_F(S3MultipartTest, AnUploadThatFailsIsAborted) {
  instead_ = [](const S3Question& question) -> std::optional<S3Answer> {
    if (question.asks("partNumber") && question.query.at("partNumber") == "3")
      return FakeS3::refusal(403, "QuotaExceeded");
    return std::nullopt;
  };
  const auto written = replace("blobs/1", large_);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::out_of_space);
  EXPECT_TRUE(fake_.objects.empty());
  EXPECT_TRUE(fake_.uploads.empty());
  EXPECT_EQ(asked("DELETE"), 1u);
}

TEST_F(S3MultipartTest, PartsThatCouldNotBeRemovedAreNamed) {
  instead_ = [](const S3Question& question) -> std::optional<S3Answer> {
    if (question.method == "DELETE" || question.method == "PUT") return FakeS3::refusal(403, "AccessDenied");
    return std::nullopt;
  };
  const auto written = replace("blobs/1", large_);
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().context.find("its parts are left"), std::string::npos) << written.error().context;
  EXPECT_EQ(fake_.uploads.size(), 1u);
}

TEST_F(S3MultipartTest, PartsAreSentAgainWhenConnectionsBreak) {
  instead_ = [seen = 0](const S3Question& question) mutable -> std::optional<S3Answer> {
    if (question.method != "PUT" || ++seen % 2 == 0) return std::nullopt;
    return S3Answer{.ending = S3Answer::Ending::closed};
  };
  EXPECT_EQ(text(replace("blobs/1", large_)), "success");
  EXPECT_EQ(fake_.objects.at("blobs/1"), large_);
  EXPECT_EQ(asked("PUT"), 10u);  // libcurl itself tries again where a kept connection was closed
}

TEST_F(S3MultipartTest, ALateRefusalInAnAnswerOfSuccessIsOne) {
  instead_ = [](const S3Question& question) -> std::optional<S3Answer> {
    if (question.method == "POST" && question.asks("uploadId"))
      return S3Answer{200, "   \n" + FakeS3::refusal(200, "InvalidPart", "no").body};
    return std::nullopt;
  };
  EXPECT_EQ(replace("blobs/1", large_).error().code, Errc::io);
  EXPECT_TRUE(fake_.uploads.empty());
}

TEST_F(S3MultipartTest, ALateRefusalThatPassesIsTriedAgain) {
  instead_ = [refused = false](const S3Question& question) mutable -> std::optional<S3Answer> {
    if (question.method == "POST" && question.asks("uploadId") && !std::exchange(refused, true))
      return S3Answer{200, FakeS3::refusal(200, "InternalError").body};
    return std::nullopt;
  };
  EXPECT_EQ(text(replace("blobs/1", large_)), "success");
  EXPECT_EQ(fake_.objects.at("blobs/1"), large_);
}

TEST_F(S3MultipartTest, ALastStepWhoseAnswerWasLostIsTakenForDoneIfTheObjectIsOfThisUpload) {
  fake_.objects["blobs/1"] = "old";
  instead_ = [this, lost = false](const S3Question& question) mutable -> std::optional<S3Answer> {
    if (question.method != "POST" || !question.asks("uploadId") || std::exchange(lost, true)) return std::nullopt;
    fake_(question);
    return S3Answer{.ending = S3Answer::Ending::closed};
  };
  EXPECT_EQ(text(replace("blobs/1", large_)), "success");
  EXPECT_EQ(fake_.objects.at("blobs/1"), large_);
}

TEST_F(S3MultipartTest, AnUploadThatSomeoneElseRemovedIsNoSuccess) {
  const std::string earlier(large_.size(), 'x');
  EXPECT_EQ(text(replace("blobs/1", earlier)), "success");  // with the mark of another upload
  instead_ = [this](const S3Question& question) -> std::optional<S3Answer> {
    if (question.method == "POST" && question.asks("uploadId")) fake_.uploads.clear();
    return std::nullopt;
  };
  EXPECT_FALSE(replace("blobs/1", large_));
  EXPECT_EQ(fake_.objects.at("blobs/1"), earlier);
}

TEST_F(S3MultipartTest, AnswersThatAreNoneAreErrors) {
  for (const char* query : {"uploads", "partNumber"}) {
    instead_ = [query](const S3Question& question) -> std::optional<S3Answer> {
      if (question.asks(query)) return S3Answer{200, "<html/>"};
      return std::nullopt;
    };
    EXPECT_EQ(replace("blobs/1", large_).error().code, Errc::invalid_argument) << query;
    EXPECT_TRUE(fake_.objects.empty());
  }
}

TEST_F(S3MultipartTest, RemovesWhatKilledWritersLeft) {
  fake_.uploads["blobs/1?1"] = fake_.uploads["other b?2"] = {};
  constexpr std::int64_t kBegun = 1767225600;  // 2026-01-01, as FakeS3 says
  EXPECT_EQ(*target().remove_unfinished(kBegun), 0u);
  EXPECT_EQ(*target().remove_unfinished(kBegun + 1), 1u);
  EXPECT_EQ(fake_.uploads.size(), 1u);  // not ours
}

TEST_F(S3MultipartTest, AListOfUploadsWithoutEndIsRefused) {
  instead_ = [](const S3Question&) {
    return S3Answer{200,
                    "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"
                    "<NextUploadIdMarker>u</NextUploadIdMarker></ListMultipartUploadsResult>"};
  };
  EXPECT_EQ(target().remove_unfinished(1).error().code, Errc::invalid_argument);
  EXPECT_LE(answers_.questions().size(), 3u);
}

}  // namespace
}  // namespace stellarium::cdn::s3
