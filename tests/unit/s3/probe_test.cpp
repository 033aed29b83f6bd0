#include "unit/s3/target_fixture.h"

namespace stellarium::cdn::s3 {
namespace {

class S3ProbeTest : public S3TargetTest {
 protected:
  /// What the probe says; whatever that is, nothing stays behind.
  std::string probed() {
    fake_.objects["blobs/1"] = "of others";
    const auto capabilities = target().probe();
    EXPECT_EQ(fake_.objects.size(), 1u);
    EXPECT_TRUE(fake_.uploads.empty());
    EXPECT_EQ(fake_.versions, 0u);
    if (capabilities) return capabilities->keeps_in_parts ? "all" : "not in parts";
    return std::string{name_of(capabilities.error().code)} + ": " + capabilities.error().context;
  }
};

TEST_F(S3ProbeTest, FindsAServerThatCanDoAll) {
  EXPECT_EQ(probed(), "all");
}

TEST_F(S3ProbeTest, FindsAServerThatKeepsOnlySmallObjectsInOneStep) {
  fake_.habits.overwrites_in_parts = true;
  EXPECT_EQ(probed(), "not in parts");
}

TEST_F(S3ProbeTest, RefusesAServerThatOverwrites) {
  fake_.habits.overwrites = true;
  EXPECT_NE(probed().find("overwrites an object where it was told to create one only"), std::string::npos);
}

TEST_F(S3ProbeTest, RefusesAServerThatKnowsNoConditions) {
  fake_.habits.refuses_conditions = true;
  EXPECT_EQ(probed().substr(0, 14), "not_supported:");
}

TEST_F(S3ProbeTest, RefusesAVersionedBucketWithoutWritingToIt) {
  fake_.habits.versioned = true;
  EXPECT_NE(probed().find("the bucket keeps old versions"), std::string::npos);
  EXPECT_EQ(asked("PUT"), 0u);
}

TEST_F(S3ProbeTest, FindsAVersionedBucketThatItMayNotAskAbout) {
  fake_.habits.versioned = fake_.habits.hides_versioning = true;
  EXPECT_NE(probed().find("the bucket keeps old versions"), std::string::npos);
  fake_.habits.versioned = false;
  EXPECT_EQ(probed(), "all");
}

TEST_F(S3ProbeTest, RefusesAServerThatShowsWhatWas) {
  fake_.habits.shows_what_was = true;
  EXPECT_NE(probed().find("shows what was before a write"), std::string::npos);
}

TEST_F(S3ProbeTest, RefusesAServerThatTakesNoParts) {
  fake_.habits.takes_no_parts = true;
  EXPECT_NE(probed().find("takes no object in parts"), std::string::npos);
}

TEST_F(S3ProbeTest, CleansUpAlsoWhenItFailsHalfWay) {
  for (unsigned broken = 0; broken < 40; ++broken) {
    instead_ = [broken, number = 0u](const S3Question& question) mutable -> std::optional<S3Answer> {
      if (number++ == broken && question.method != "DELETE") return FakeS3::refusal(403, "AccessDenied");
      return std::nullopt;
    };
    probed();
  }
}

TEST_F(S3ProbeTest, SaysWhatIsWrongWithTheKeys) {
  instead_ = [](const S3Question&) { return FakeS3::refusal(403, "InvalidAccessKeyId"); };
  EXPECT_EQ(probed().substr(0, 11), "permission:");
}

}  // namespace
}  // namespace stellarium::cdn::s3
