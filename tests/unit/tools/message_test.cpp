#include "tools/protocol/message.h"

#include <gtest/gtest.h>

#include <random>

#include "base/bytes.h"
#include "support/golden.h"
#include "tools/protocol/channel.h"

namespace stellarium::protocol {
namespace {

cas::ContentId id_of(int n) {
  cas::ContentId id;
  id.bytes.fill(static_cast<std::byte>(n));
  return id;
}

TEST(Hello, SurvivesTheWire) {
  const auto hello = Hello::decode(Hello{.build = "1.2.3+abc"}.encode());
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->version, kProtocolVersion);
  EXPECT_EQ(hello->build, "1.2.3+abc");
}

TEST(Hello, OfAnotherVersionIsReadAsFarAsTheVersion) {
  std::string later = Hello{.version = 2, .build = "9"}.encode() + "what version 2 adds";
  const auto hello = Hello::decode(later);
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->version, 2);
}

TEST(Hello, OfAnotherProgramIsRefused) {
  EXPECT_FALSE(Hello::decode("GET / HTTP/1.1\r\n"));
  EXPECT_FALSE(Hello::decode(""));
}

TEST(Welcome, SurvivesTheWire) {
  const auto welcome = Welcome::decode(Welcome{.build = "b", .store_uuid = "u", .server_pid = 77}.encode());
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->store_uuid, "u");
  EXPECT_EQ(welcome->server_pid, 77u);
}

TEST(Request, KeepsWordsAsTheBytesTheyAre) {
  const std::vector<std::string> words{
      "ls", "", "with space", std::string("nul\0inside", 10), "\xff\xfe", std::string(5000, 'x')};
  const auto request = Request::decode(Request{words, true}.encode());
  ASSERT_TRUE(request);
  EXPECT_EQ(request->words, words);
  EXPECT_TRUE(request->wants_progress);
}

TEST(Request, ThatAnnouncesMoreWordsThanItHoldsIsRefused) {
  std::string bytes(1, '\0');
  put_varint(bytes, 3);
  EXPECT_FALSE(Request::decode(bytes));
  bytes.assign(1, '\0');
  put_varint(bytes, ~std::uint64_t{0});
  EXPECT_FALSE(Request::decode(bytes));
}

TEST(Request, WithAWordLongerThanTheMessageIsRefused) {
  std::string bytes(1, '\0');
  put_varint(bytes, 1);
  put_varint(bytes, ~std::uint64_t{0} - 5);
  EXPECT_FALSE(Request::decode(bytes + "word"));
}

TEST(Progress, SurvivesTheWire) {
  const Progress sent{.phase = "import", .done = 1, .total = 1ull << 40, .files = 3, .bytes = false};
  const auto progress = Progress::decode(sent.encode());
  ASSERT_TRUE(progress);
  EXPECT_EQ(progress->phase, "import");
  EXPECT_EQ(progress->total, 1ull << 40);
  EXPECT_FALSE(progress->bytes);
}

TEST(ContentList, SurvivesTheWire) {
  ContentList sent;
  sent.add({id_of(1), 10, "a"});
  sent.add({id_of(2), 1ull << 40, "dir/\xff"});
  const auto list = ContentList::decode(sent.encode());
  ASSERT_TRUE(list);
  ASSERT_EQ(list->entries.size(), 2u);
  EXPECT_EQ(list->entries[1].id, id_of(2));
  EXPECT_EQ(list->entries[1].path, "dir/\xff");
}

TEST(ContentList, ThatHasNoRoomLeftStillFitsIntoAFrame) {
  ContentList list;
  const std::string path(300, 'p');
  while (list.has_room_for(path.size())) list.add({id_of(1), ~std::uint64_t{0}, path});
  EXPECT_GT(list.entries.size(), 100u);
  EXPECT_LE(list.encode().size(), kMaxPayload);
}

TEST(ContentQuestion, AndItsAnswerSurviveTheWire) {
  ContentQuestion sent;
  for (int n = 0; n < 512; ++n) sent.contents.push_back({id_of(n), 1ull << (n % 64)});
  EXPECT_LE(sent.encode().size(), kMaxPayload);
  const auto question = ContentQuestion::decode(sent.encode());
  ASSERT_TRUE(question);
  EXPECT_EQ(question->contents, sent.contents);
  const auto answer = ContentAnswer::decode(ContentAnswer{{true, false, true}}.encode());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->present, (std::vector<bool>{true, false, true}));
}

TEST(ContentQuestion, OfMoreContentsThanAllowedIsRefused) {
  ContentQuestion question;
  question.contents.resize(ContentQuestion::kMaxContents + 1);
  EXPECT_FALSE(ContentQuestion::decode(question.encode()));
  ContentAnswer answer;
  answer.present.resize(ContentQuestion::kMaxContents + 1);
  EXPECT_FALSE(ContentAnswer::decode(answer.encode()));
  EXPECT_FALSE(ContentAnswer::decode(std::string{"\1\2", 2})) << "neither yes nor no";
}

TEST(Messages, OfVersion1LookAsReleased) {
  std::string all;
  const auto frame = [&all](MessageType type, const std::string& payload) {
    put_le(all, static_cast<std::uint16_t>(type));
    put_le(all, std::uint16_t{0});
    put_le(all, static_cast<std::uint32_t>(payload.size()));
    all += payload;
  };
  ContentList list;
  list.add({id_of(1), 300, "etc/passwd"});
  frame(MessageType::hello, Hello{.build = "0.1.0"}.encode());
  frame(MessageType::welcome,
        Welcome{.build = "0.1.0", .store_uuid = "01234567-89ab-4def-8123-456789abcdef", .server_pid = 4711}.encode());
  frame(MessageType::request, Request{{"ls", "-l", "web"}, true}.encode());
  frame(MessageType::progress, Progress{.phase = "import", .done = 1000, .total = 70'000, .files = 3}.encode());
  frame(MessageType::contents, list.encode());
  EXPECT_EQ(test::golden_or_write("protocol-v1.bin", all), all);
}

TEST(Messages, CutAnywhereOrLengthenedAreRefused) {
  ContentList list;
  list.add({id_of(1), 10, "path"});
  const auto refuses_all = [](const std::string& whole, auto decode) {
    for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(decode(whole.substr(0, size))) << size;
    EXPECT_FALSE(decode(whole + "x"));
  };
  refuses_all(Hello{.build = "build"}.encode(),
              [](const std::string& bytes) { return Hello::decode(bytes).has_value(); });
  refuses_all(Welcome{.build = "b", .store_uuid = "u"}.encode(),
              [](const std::string& bytes) { return Welcome::decode(bytes).has_value(); });
  refuses_all(Request{{"ls", "x"}, false}.encode(),
              [](const std::string& bytes) { return Request::decode(bytes).has_value(); });
  refuses_all(Progress{.phase = "p", .done = 300}.encode(),
              [](const std::string& bytes) { return Progress::decode(bytes).has_value(); });
  refuses_all(list.encode(), [](const std::string& bytes) { return ContentList::decode(bytes).has_value(); });
  refuses_all(ContentQuestion{{{id_of(1), 300}}}.encode(),
              [](const std::string& bytes) { return ContentQuestion::decode(bytes).has_value(); });
  refuses_all(ContentAnswer{{true, false}}.encode(),
              [](const std::string& bytes) { return ContentAnswer::decode(bytes).has_value(); });
}

TEST(Messages, RandomBytesNeverDoMoreThanFail) {
  std::mt19937 random{11};
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes(random() % 64, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() % 3 == 0 ? random() : random() % 4);
    (void)Hello::decode("STLRCMD1" + bytes);
    (void)Welcome::decode(bytes);
    (void)Request::decode(bytes);
    (void)Progress::decode(bytes);
    (void)ContentList::decode(bytes);
    (void)ContentQuestion::decode(bytes);
    (void)ContentAnswer::decode(bytes);
  }
}

}  // namespace
}  // namespace stellarium::protocol
