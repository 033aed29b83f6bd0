#include "cdn/http/response_check.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace stellarium::cdn::http {
namespace {

using Meaning = Judgement::Meaning;

AnswerHead head_of(std::initializer_list<const char*> lines) {
  AnswerHead head;
  for (const char* line : lines) EXPECT_TRUE(head.add(line, 0));
  return head;
}

Meaning meaning_of(std::initializer_list<const char*> lines, const Asked& asked) {
  return judge(head_of(lines), asked).meaning;
}

const Asked kWhole{.offset = 0, .size = std::nullopt, .limit = 1000, .have = 0, .total = std::nullopt};
const Asked kPart{.offset = 100, .size = 50, .limit = 0, .have = 0, .total = std::nullopt};
const Asked kFirst{.offset = 0, .size = 50, .limit = 0, .have = 0, .total = std::nullopt};
const Asked kRest{.offset = 100, .size = std::nullopt, .limit = 1000, .have = 0, .total = std::nullopt};

TEST(ResponseCheck, APartIsExactlyWhatWasAskedFor) {
  const auto answer = [](const char* range) {
    return meaning_of({"HTTP/1.1 206 Partial Content\r\n", range, "\r\n"}, kPart);
  };
  EXPECT_EQ(answer("Content-Range: bytes 100-149/1000\r\n"), Meaning::body);
  EXPECT_EQ(answer("content-range:bytes 100-149/*\r\n"), Meaning::body);
  EXPECT_EQ(answer("Content-Range: bytes 101-150/1000\r\n"), Meaning::wrong);
  EXPECT_EQ(answer("Content-Range: bytes 100-148/1000\r\n"), Meaning::wrong);
  EXPECT_EQ(answer("Content-Range: bytes 100-149/120\r\n"), Meaning::wrong);
  EXPECT_EQ(answer("Content-Length: 50\r\n"), Meaning::wrong);
}

TEST(ResponseCheck, ALengthMustAgreeWithTheRange) {
  EXPECT_EQ(meaning_of({"HTTP/2 206", "Content-Range: bytes 100-149/1000", "Content-Length: 51"}, kPart),
            Meaning::wrong);
  EXPECT_EQ(meaning_of({"HTTP/2 206", "Content-Range: bytes 100-149/1000", "Content-Length: 50"}, kPart),
            Meaning::body);
}

TEST(ResponseCheck, FieldsThatContradictThemselvesAreRefused) {
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Content-Length: 50", "Content-Length: 51"}, kWhole), Meaning::wrong);
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Content-Length: 50", "Content-Length: 50"}, kWhole), Meaning::body);
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Content-Length: fifty"}, kWhole), Meaning::wrong);
}

TEST(ResponseCheck, AWholeObjectWillDoOnlyIfItIsWhatWasAskedFor) {
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Content-Length: 50"}, kFirst), Meaning::body);
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Content-Length: 51"}, kFirst), Meaning::wrong);
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Transfer-Encoding: chunked"}, kFirst), Meaning::wrong);
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Content-Length: 150"}, kPart), Meaning::wrong);
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Content-Length: 150"}, kRest), Meaning::wrong);
}

TEST(ResponseCheck, AResumedObjectMayComeFromItsStartAgain) {
  Asked resumed = kFirst;
  resumed.have = 20;
  const Judgement judged = judge(head_of({"HTTP/1.1 200", "Content-Length: 50"}), resumed);
  EXPECT_EQ(judged.meaning, Meaning::body);
  EXPECT_TRUE(judged.from_start);
  EXPECT_EQ(judged.size, 50u);
}

TEST(ResponseCheck, AnObjectThatHasAnotherSizeNowIsNotGoneOnWith) {
  Asked resumed = kWhole;
  resumed.have = 20;
  resumed.total = 50;
  EXPECT_EQ(meaning_of({"HTTP/1.1 206", "Content-Range: bytes 20-59/60"}, resumed), Meaning::changed);
  EXPECT_EQ(meaning_of({"HTTP/1.1 206", "Content-Range: bytes 20-49/50"}, resumed), Meaning::body);
}

TEST(ResponseCheck, TheRestGoesToTheEndAndKeepsToTheLimit) {
  EXPECT_EQ(meaning_of({"HTTP/1.1 206", "Content-Range: bytes 100-199/200"}, kRest), Meaning::body);
  EXPECT_EQ(meaning_of({"HTTP/1.1 206", "Content-Range: bytes 100-198/200"}, kRest), Meaning::wrong);
  EXPECT_EQ(meaning_of({"HTTP/1.1 206", "Content-Range: bytes 100-199/*"}, kRest), Meaning::wrong);
  EXPECT_EQ(meaning_of({"HTTP/1.1 206", "Content-Range: bytes 100-1100/1101"}, kRest), Meaning::too_large);
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Content-Length: 1001"}, kWhole), Meaning::too_large);
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Content-Length: 1000"}, kWhole), Meaning::body);
}

TEST(ResponseCheck, AnEncodedBodyIsRefused) {
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Content-Length: 9", "Content-Encoding: gzip"}, kWhole), Meaning::wrong);
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Transfer-Encoding: gzip, chunked"}, kWhole), Meaning::wrong);
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Content-Length: 9", "Content-Encoding: identity"}, kWhole), Meaning::body);
}

TEST(ResponseCheck, ABodyWhoseEndNobodyCanSeeIsRefused) {
  EXPECT_EQ(meaning_of({"HTTP/1.1 200"}, kWhole), Meaning::wrong);
  EXPECT_EQ(meaning_of({"HTTP/2 200"}, kWhole), Meaning::body);
  EXPECT_EQ(meaning_of({"HTTP/1.1 200", "Transfer-Encoding: chunked"}, kWhole), Meaning::body);
}

TEST(ResponseCheck, StatusesMeanWhatTheyMean) {
  const auto of = [](const char* line) { return meaning_of({line, "Retry-After: 7"}, kPart); };
  EXPECT_EQ(of("HTTP/1.1 404"), Meaning::not_found);
  EXPECT_EQ(of("HTTP/1.1 410"), Meaning::not_found);
  EXPECT_EQ(of("HTTP/1.1 401"), Meaning::permission);
  EXPECT_EQ(of("HTTP/1.1 403"), Meaning::permission);
  EXPECT_EQ(of("HTTP/1.1 429"), Meaning::busy);
  EXPECT_EQ(of("HTTP/1.1 503"), Meaning::busy);
  EXPECT_EQ(of("HTTP/1.1 302"), Meaning::redirect);
  EXPECT_EQ(of("HTTP/1.1 304"), Meaning::wrong);
  EXPECT_EQ(of("HTTP/1.1 416"), Meaning::wrong);
  EXPECT_EQ(of("garbage"), Meaning::wrong);
  EXPECT_EQ(judge(head_of({"HTTP/1.1 503", "Retry-After: 7"}), kPart).retry_after, 7u);
}

TEST(AnswerHead, AnInterimAnswerIsForgotten) {
  const AnswerHead head =
      head_of({"HTTP/1.1 103", "Content-Length: 7", "\r\n", "HTTP/1.1 200", "Content-Length: 9", "\r\n"});
  EXPECT_EQ(head.status(), 200u);
  EXPECT_EQ(head.length(), 9u);
  EXPECT_FALSE(head.malformed());
}

TEST(AnswerHead, IsBoundedAlsoOverManyAnswers) {
  AnswerHead head;
  std::size_t taken = 0;
  while (head.add("HTTP/1.1 100 Continue\r\n", 0)) taken += 23;
  EXPECT_LE(taken, AnswerHead::kMostBytes);
}

}  // namespace
}  // namespace stellarium::cdn::http
