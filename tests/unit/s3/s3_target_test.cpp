#include <vector>

#include "unit/s3/target_fixture.h"

namespace stellarium::cdn::s3 {
namespace {

TEST_F(S3TargetTest, WritesReadsMeasuresListsAndRemoves) {
  EXPECT_EQ(text(keep("blobs/a+b", "hello")), "success");
  EXPECT_EQ(fake_.objects.at("blobs/a+b"), "hello");
  EXPECT_EQ(**target().read("blobs/a+b", 5), "hello");
  EXPECT_EQ(**target().size_of("blobs/a+b"), 5u);
  std::vector<std::string> found;
  EXPECT_TRUE(target().list("blobs/", [&](const ObjectTarget::Listed& listed) -> Result<void> {
    found.push_back(listed.path + " " + std::to_string(listed.size));
    return {};
  }));
  EXPECT_EQ(found, std::vector<std::string>{"blobs/a+b 5"});
  EXPECT_TRUE(target().remove("blobs/a+b"));
  EXPECT_TRUE(target().remove("blobs/a+b"));
  EXPECT_EQ(*target().size_of("blobs/a+b"), std::nullopt);
  EXPECT_EQ(*target().read("blobs/a+b", 5), std::nullopt);
}

TEST_F(S3TargetTest, WritesEmptyObjects) {
  EXPECT_EQ(text(replace("names/empty", "")), "success");
  EXPECT_EQ(**target().size_of("names/empty"), 0u);
  EXPECT_EQ(**target().read("names/empty", 0), "");
}

TEST_F(S3TargetTest, PutsAPrefixBeforeEveryKey) {
  Options with = options();
  with.prefix = "team/images";
  open(with);
  fake_.objects["team/other"] = fake_.objects["blobs/1"] = "not ours";
  EXPECT_EQ(text(replace("blobs/1", "x")), "success");
  EXPECT_EQ(fake_.objects.at("team/images/blobs/1"), "x");
  std::vector<std::string> found;
  EXPECT_TRUE(target().list("", [&](const ObjectTarget::Listed& listed) -> Result<void> {
    found.push_back(listed.path);
    return {};
  }));
  EXPECT_EQ(found, std::vector<std::string>{"blobs/1"});
}

TEST_F(S3TargetTest, TakesOnlyPathsOfObjects) {
  EXPECT_EQ(replace("../x", "1").error().code, Errc::invalid_argument);
  EXPECT_EQ(target().read("", 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(target().size_of("a//b").error().code, Errc::invalid_argument);
  EXPECT_EQ(target().remove("a b").error().code, Errc::invalid_argument);
  EXPECT_EQ(target().list("/a", [](const auto&) -> Result<void> { return {}; }).error().code, Errc::invalid_argument);
  EXPECT_TRUE(answers_.questions().empty());
}

TEST_F(S3TargetTest, SignsEveryRequestWithTheHashOfItsBody) {
  EXPECT_TRUE(keep("blobs/1", "hello"));
  const S3Question asked = answers_.questions().at(0);
  EXPECT_EQ(asked.headers.at("x-amz-content-sha256"), sha256_hex(as_bytes("hello")));
  EXPECT_EQ(asked.headers.at("if-none-match"), "*");
  EXPECT_EQ(asked.headers.at("x-amz-security-token"), "THE/SESSION/TOKEN");
  EXPECT_EQ(asked.headers.at("host"), answers_.host());
  EXPECT_EQ(asked.headers.at("content-length"), "5");
  const Fields headers{{"if-none-match", "*"},
                       {"content-type", "application/octet-stream"},
                       {"host", answers_.host()},
                       {"x-amz-content-sha256", sha256_hex(as_bytes("hello"))},
                       {"x-amz-date", asked.headers.at("x-amz-date")},
                       {"x-amz-security-token", "THE/SESSION/TOKEN"}};
  const std::string hash = sha256_hex(as_bytes("hello"));
  EXPECT_EQ(asked.headers.at("authorization"),
            authorization({"PUT", "/images/blobs/1", {}, headers, hash}, credentials(), {"us-east-1"},
                          asked.headers.at("x-amz-date")));
}

TEST_F(S3TargetTest, KeepsWhatIsThereIfItsSizeIsTheSame) {
  fake_.objects["blobs/1"] = "hello";
  EXPECT_EQ(text(keep("blobs/1", "HELLO")), "success");
  EXPECT_EQ(fake_.objects.at("blobs/1"), "hello");
}

TEST_F(S3TargetTest, SaysExistsIfTheSizeOfWhatIsThereIsAnother) {
  fake_.objects["blobs/1"] = "hell";
  const auto kept = keep("blobs/1", "hello");
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, Errc::exists);
  EXPECT_EQ(
      kept.error().context,
      "writing blobs/1: " + answers_.endpoint() +
          "/images: another object of that name is there already, of 4 bytes instead of 5: it is damaged or not of "
          "this program; remove it");
  EXPECT_EQ(fake_.objects.at("blobs/1"), "hell");
}

TEST_F(S3TargetTest, ReplacesUnconditionally) {
  fake_.objects["names/a"] = "old";
  EXPECT_EQ(text(replace("names/a", "newer")), "success");
  EXPECT_EQ(fake_.objects.at("names/a"), "newer");
  EXPECT_EQ(answers_.questions().at(0).headers.count("if-none-match"), 0u);
}

TEST_F(S3TargetTest, RefusesToReadMoreThanTheLimit) {
  fake_.objects["big"] = std::string(1000, 'x');
  EXPECT_TRUE(target().read("big", 1000));
  EXPECT_EQ(target().read("big", 999).error().code, Errc::invalid_argument);
  EXPECT_EQ(target().counters().retries, 0u);
}

TEST_F(S3TargetTest, EndsABodyWithoutEndAtTheLimit) {
  instead_ = [](const S3Question&) { return S3Answer{.ending = S3Answer::Ending::endless}; };
  EXPECT_EQ(target().read("big", 1u << 20).error().code, Errc::invalid_argument);
  EXPECT_LT(target().counters().received, 2u << 20);
}

TEST_F(S3TargetTest, RefusesABodyThatWasCompressedUnasked) {
  instead_ = [](const S3Question&) { return S3Answer{200, "\x1f\x8b", {{"content-encoding", "gzip"}}}; };
  EXPECT_EQ(target().read("a", 100).error().code, Errc::invalid_argument);
}

TEST_F(S3TargetTest, ListsPageByPage) {
  for (int number = 1000; number < 1025; ++number) fake_.objects["blobs/" + std::to_string(number)] = "x";
  fake_.habits.page = 4;
  std::vector<std::string> found;
  const auto listed = target().list("", [&](const ObjectTarget::Listed& each) -> Result<void> {
    found.push_back(each.path);
    return {};
  });
  EXPECT_EQ(text(listed), "success");
  EXPECT_EQ(found.size(), 25u);
  EXPECT_EQ(asked("GET"), 7u);
}

TEST_F(S3TargetTest, EndsAListingWithTheCallersError) {
  fake_.objects["a"] = fake_.objects["b"] = "x";
  int calls = 0;
  const auto listed = target().list("", [&](const ObjectTarget::Listed&) -> Result<void> {
    ++calls;
    return fail(Errc::cancelled, "enough");
  });
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.error().code, Errc::cancelled);
  EXPECT_EQ(listed.error().context, "enough");
  EXPECT_EQ(calls, 1);
}

TEST_F(S3TargetTest, RefusesAListingLargerThanAnyPage) {
  instead_ = [](const S3Question&) { return S3Answer{.ending = S3Answer::Ending::endless}; };
  const auto listed = target().list("", [](const auto&) -> Result<void> { return {}; });
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.error().code, Errc::invalid_argument);
  EXPECT_LT(target().counters().received, 16u << 20);
}

TEST_F(S3TargetTest, TellsAMissingBucketFromAMissingObject) {
  EXPECT_EQ(*target().size_of("a"), std::nullopt);
  EXPECT_EQ(*target().size_of("a"), std::nullopt);
  EXPECT_EQ(asked("GET"), 1u);  // the bucket is looked for once
  Options with = options();
  with.bucket = "elsewhere";
  open(with);
  for (const Error& error :
       {target().size_of("a").error(), target().read("a", 1).error(), replace("a", "x").error(),
        target().remove("a").error(), target().list("", [](const auto&) -> Result<void> { return {}; }).error()}) {
    EXPECT_EQ(error.code, Errc::not_found);
    EXPECT_NE(error.context.find("there is no such bucket: create it, or correct its name (404 NoSuchBucket)"),
              std::string::npos)
        << error.context;
  }
}

TEST_F(S3TargetTest, LooksForTheBucketWhereA404DoesNotSayWhatIsMissing) {
  instead_ = [](const S3Question& question) -> std::optional<S3Answer> {
    if (question.path != "/images") return S3Answer{404, "<html>not found</html>"};
    return std::nullopt;
  };
  EXPECT_EQ(*target().read("a", 1), std::nullopt);
  instead_ = [](const S3Question& question) -> std::optional<S3Answer> {
    return question.path == "/images" ? FakeS3::refusal(404, "NoSuchBucket") : S3Answer{404, "<html>not found</html>"};
  };
  open(options());
  EXPECT_EQ(target().read("a", 1).error().code, Errc::not_found);
}

TEST_F(S3TargetTest, IsUsedByManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([thread, &shared = target()] {
      for (int number = 0; number < 10; ++number) {
        const std::string path = "blobs/" + std::to_string(thread) + "/" + std::to_string(number);
        EXPECT_TRUE(shared.write(path, as_bytes(path), ObjectTarget::Existing::keep));
        EXPECT_EQ(**shared.read(path, 100), path);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(fake_.objects.size(), 80u);
  EXPECT_EQ(target().counters().requests, 160u);
}

}  // namespace
}  // namespace stellarium::cdn::s3
