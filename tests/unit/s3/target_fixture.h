#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "cdn/s3/s3_target.h"
#include "support/fake_s3.h"
#include "support/s3_answers.h"

namespace stellarium::cdn::s3 {

using test::FakeS3;
using test::S3Answer;
using test::S3Question;

/// A target whose server is FakeS3, unless `instead` has something to say first.
class S3TargetTest : public ::testing::Test {
 protected:
  /// Waits are a millisecond, and parts a few bytes.
  Options options() const {
    Options made;
    made.endpoint = answers_.endpoint();
    made.bucket = "images";
    made.stalled = std::chrono::seconds{20};
    made.first_wait = made.longest_wait = std::chrono::milliseconds{1};
    made.tries = 4;
    made.parts_over = 100;
    made.part_size = 40;
    return made;
  }
  static Credentials credentials() { return {"THEKEYID", "THE/SECRET+KEY", "THE/SESSION/TOKEN"}; }

  S3Target& target() {
    if (!target_) open(options());
    return *target_;
  }
  void open(const Options& with) {
    auto made = S3Target::create(with, credentials());
    ASSERT_TRUE(made) << to_string(made.error());
    target_ = std::move(*made);
  }

  Result<void> keep(const std::string& path, const std::string& content) {
    return target().write(path, as_bytes(content), ObjectTarget::Existing::keep);
  }
  Result<void> replace(const std::string& path, const std::string& content) {
    return target().write(path, as_bytes(content), ObjectTarget::Existing::replace);
  }
  /// How many requests of this method there were.
  std::size_t asked(const std::string& method) {
    std::size_t count = 0;
    for (const S3Question& each : answers_.questions()) count += each.method == method ? 1 : 0;
    return count;
  }

  FakeS3 fake_;
  std::function<std::optional<S3Answer>(const S3Question&)> instead_;
  test::S3Answers answers_{[this](const S3Question& question) {
    if (instead_) {
      if (auto answer = instead_(question)) return *answer;
    }
    return fake_(question);
  }};
  std::unique_ptr<S3Target> target_;
};

inline std::string text(const Result<void>& result) {
  return result ? "success" : std::string{name_of(result.error().code)} + ": " + to_string(result.error());
}

}  // namespace stellarium::cdn::s3
