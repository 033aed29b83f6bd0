#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <future>
#include <map>
#include <random>
#include <thread>

#include "cdn/folder_objects.h"
#include "support/random_bytes.h"
#include "support/temp_dir.h"
#include "tools/transport/object_client.h"
#include "tools/transport/object_server.h"

namespace stellarium::transport {
namespace {

using testing::HasSubstr;
using Existing = cdn::ObjectTarget::Existing;

/// Its two ends.
std::pair<protocol::Channel, protocol::Channel> channel_pair() {
  auto sockets = protocol::make_socket_pair().value();
  return {protocol::Channel{std::move(sockets.first)}, protocol::Channel{std::move(sockets.second)}};
}
Result<std::string> fetch_of(cdn::ObjectReader& reader, cdn::ObjectRequest request) {
  std::promise<Result<std::string>> promise;
  reader.fetch(std::move(request), [&](Result<std::string> bytes) { promise.set_value(std::move(bytes)); });
  return promise.get_future().get();
}
std::string random_object(std::uint64_t seed, std::size_t size) {
  return std::string{as_text(test::random_bytes(seed, size))};
}

/// A client, and a server that answers it out of a folder.
class ObjectTransport : public testing::Test {
 protected:
  ObjectTransport() {
    auto [ours, theirs] = channel_pair();
    folder_ = cdn::FolderObjects::open(dir_.path()).value();
    serving_ = std::thread{[this, channel = std::move(theirs)]() mutable {
      ObjectServer server{std::move(channel), folder_.get(), folder_.get()};
      served_ = server.run();
    }};
    client_ = std::make_unique<ObjectClient>(std::move(ours));
  }
  ~ObjectTransport() override {
    client_.reset();
    serving_.join();
    EXPECT_TRUE(served_);
  }
  void write(const std::string& path, std::string_view bytes) {
    EXPECT_TRUE(client_->write(path, as_bytes(bytes), Existing::keep)) << path;
  }

  test::TempDir dir_;
  std::unique_ptr<cdn::FolderObjects> folder_;
  Result<void> served_;
  std::thread serving_;
  std::unique_ptr<ObjectClient> client_;
};

TEST_F(ObjectTransport, BringsObjectsThereAndBack) {
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, kMaxData - 1, kMaxData, kMaxData + 1, std::size_t{3'000'000}}) {
    const std::string path = "blobs/" + std::to_string(size), bytes = random_object(size, size);
    write(path, bytes);
    EXPECT_EQ(client_->size_of(path).value(), size);
    EXPECT_TRUE(client_->read(path, size).value() == bytes);
    EXPECT_TRUE(fetch_of(*client_, {.path = path}).value() == bytes);
    EXPECT_TRUE(folder_->read(path, size).value() == bytes);
  }
}

TEST_F(ObjectTransport, BringsRanges) {
  const std::string bytes = random_object(1, 500'000);
  write("a", bytes);
  EXPECT_EQ(fetch_of(*client_, {.path = "a", .offset = 1000, .size = 300'000}).value(), bytes.substr(1000, 300'000));
  EXPECT_EQ(fetch_of(*client_, {.path = "a", .offset = 499'999}).value(), bytes.substr(499'999));
}

TEST_F(ObjectTransport, ReplacesListsAndRemoves) {
  EXPECT_TRUE(client_->write("names/a/1", as_bytes("one"), Existing::replace));
  EXPECT_TRUE(client_->write("names/a/1", as_bytes("two!"), Existing::replace));
  write("blobs/b", "bb");
  std::map<std::string, std::uint64_t> found;
  EXPECT_TRUE(client_->list("names/", [&](const cdn::ObjectTarget::Listed& each) -> Result<void> {
    found[each.path] = each.size;
    return {};
  }));
  EXPECT_EQ(found, (std::map<std::string, std::uint64_t>{{"names/a/1", 4}}));
  EXPECT_TRUE(client_->remove("names/a/1"));
  EXPECT_EQ(client_->read("names/a/1", 100).value(), std::nullopt);
  EXPECT_TRUE(client_->remove("names/a/1"));
}

TEST_F(ObjectTransport, ReportsErrorsAsTheyAre) {
  write("a", "0123456789");
  EXPECT_EQ(client_->size_of("none").value(), std::nullopt);
  EXPECT_EQ(fetch_of(*client_, {.path = "none"}).error().code, Errc::not_found);
  EXPECT_EQ(fetch_of(*client_, {.path = "../a"}).error().code, Errc::invalid_argument);
  EXPECT_EQ(fetch_of(*client_, {.path = "a", .offset = 5, .size = 6}).error().code, Errc::unavailable);
  EXPECT_EQ(fetch_of(*client_, {.path = "a", .limit = 5}).error().code, Errc::invalid_argument);
  EXPECT_EQ(client_->read("a", 5).error().code, Errc::invalid_argument);
  const auto refused = client_->write("a/b", as_bytes("x"), Existing::keep);
  EXPECT_EQ(refused.error().code, folder_->write("a/b", as_bytes("x"), Existing::keep).error().code);
  EXPECT_THAT(refused.error().context, HasSubstr("a"));
}

TEST_F(ObjectTransport, RefusesWhatIsTooLargeAndGoesOn) {
  EXPECT_EQ(fetch_of(*client_, {.path = "a", .offset = 0, .size = kMaxObject + 1}).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(client_->write("a", as_bytes(std::string(kMaxObject + 1, 'x')), Existing::keep).error().code,
            Errc::invalid_argument);
  EXPECT_FALSE(client_->size_of(std::string(100'000, 'x'))) << "a path that no frame has room for";
  write("a", "after it");
  EXPECT_EQ(fetch_of(*client_, {.path = "a"}).value(), "after it");
}

TEST_F(ObjectTransport, AnswersManyAtATime) {
  std::vector<std::string> objects;
  for (std::size_t i = 0; i < 40; ++i) {
    objects.push_back(random_object(i, 1 + i * 7'919));
    write("blobs/" + std::to_string(i), objects.back());
  }
  std::vector<std::jthread> threads;
  std::atomic<int> right = 0;
  for (unsigned seed = 0; seed < 6; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random{seed};
      for (int i = 0; i < 100; ++i) {
        const std::size_t at = random() % objects.size();
        const std::string path = "blobs/" + std::to_string(at);
        if (i % 5 == 0)
          right += client_->size_of(path).value() == objects[at].size() ? 1 : 0;
        else
          right += fetch_of(*client_, {.path = path}).value() == objects[at] ? 1 : 0;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(right, 600);
  EXPECT_EQ(client_->counters().requests, 480u);
}

TEST(ObjectServer, WithoutATargetRefusesToBeWrittenTo) {
  const test::TempDir dir;
  const auto folder = cdn::FolderObjects::open(dir.path()).value();
  auto [ours, theirs] = channel_pair();
  std::jthread serving{[&folder, channel = std::move(theirs)]() mutable {
    ObjectServer server{std::move(channel), folder.get(), nullptr};
    EXPECT_TRUE(server.run());
  }};
  ObjectClient client{std::move(ours)};
  EXPECT_EQ(client.write("a", as_bytes("x"), Existing::keep).error().code, Errc::not_supported);
  EXPECT_EQ(fetch_of(client, {.path = "a"}).error().code, Errc::not_found);
}

/// What a server says of a client that sends these frames.
Result<void> served(const std::vector<std::pair<ObjectType, std::string>>& frames) {
  const test::TempDir dir;
  const auto folder = cdn::FolderObjects::open(dir.path()).value();
  auto [ours, theirs] = channel_pair();
  auto result = std::async(std::launch::async, [&folder, channel = std::move(theirs)]() mutable {
    ObjectServer server{std::move(channel), folder.get(), folder.get()};
    return server.run();
  });
  for (const auto& [type, payload] : frames) (void)ours.send(wire(type), payload);
  ours.close();
  return result.get();
}

TEST(ObjectServer, EndsWhereItsClientBreaksTheProtocol) {
  const std::string write = Question{.number = 1, .request = {.path = "a", .size = 5}}.encode();
  using Frames = std::vector<std::pair<ObjectType, std::string>>;
  for (const Frames& frames :
       {Frames{{ObjectType::fetch, "short"}}, Frames{{ObjectType::answer, std::string(30, '\0')}},
        Frames{{ObjectType{7}, Question{}.encode()}}, Frames{{ObjectType::data, encode_data(1, "x")}},
        Frames{{ObjectType::write, write}, {ObjectType::data, encode_data(2, "x")}},
        Frames{{ObjectType::write, write}, {ObjectType::data, encode_data(1, "123456")}}})
    EXPECT_EQ(served(frames).error().code, Errc::invalid_argument);
}

TEST(ObjectServer, EndsInPeaceWithAClientThatIsGone) {
  const std::string write = Question{.number = 1, .request = {.path = "a", .size = 5}}.encode();
  EXPECT_TRUE(served({}));
  EXPECT_TRUE(served({{ObjectType::write, write}, {ObjectType::data, encode_data(1, "123")}}));
  std::vector<std::pair<ObjectType, std::string>> many;
  for (std::uint64_t number = 0; number < 20; ++number)
    many.emplace_back(ObjectType::size_of, Question{.number = number, .request = {.path = "a"}}.encode());
  EXPECT_TRUE(served(many));
}

/// Answers the first question of a client as a test wants.
class HostileServer {
 public:
  using Act = std::function<void(const protocol::Channel&, const Question&)>;
  explicit HostileServer(Act act) {
    auto [ours, theirs] = channel_pair();
    client = std::make_unique<ObjectClient>(std::move(ours));
    serving_ = std::jthread{[act = std::move(act), channel = std::move(theirs)] {
      const auto frame = channel.receive();
      if (!frame) return;
      const auto question = Question::decode(frame->payload);
      ASSERT_TRUE(question);
      act(channel, *question);
    }};
  }
  ~HostileServer() { client.reset(); }
  std::unique_ptr<ObjectClient> client;

 private:
  std::jthread serving_;
};

TEST(ObjectClient, BelievesNothingThatNobodyAskedFor) {
  const std::vector<HostileServer::Act> acts{
      [](const auto& channel, const Question&) { (void)channel.send(1, "a frame of others"); },
      [](const auto& channel, const Question&) { (void)channel.send(wire(ObjectType::answer), "short"); },
      [](const auto& channel, const Question& q) {
        (void)channel.send(wire(ObjectType::answer), Answer{.number = q.number + 1}.encode());
      },
      [](const auto& channel, const Question& q) {
        (void)channel.send(wire(ObjectType::data), encode_data(q.number + 1, "x"));
      },
      [](const auto& channel, const Question& q) {  // more than was asked for
        (void)channel.send(wire(ObjectType::data), encode_data(q.number, std::string(11, 'x')));
      },
      [](const auto& channel, const Question& q) {  // a listing, of one object
        (void)channel.send(wire(ObjectType::listed), encode_listed(q.number, {.path = "a"}));
      },
      [](const auto& channel, const Question& q) { (void)channel.send(wire(ObjectType::fetch), q.encode()); },
      [](const auto& channel, const Question&) { (void)channel.send(wire(ObjectType::data), ""); },
  };
  for (std::size_t at = 0; at < acts.size(); ++at) {
    HostileServer server{acts[at]};
    EXPECT_EQ(fetch_of(*server.client, {.path = "a", .offset = 0, .size = 10}).error().code, Errc::invalid_argument)
        << at;
    EXPECT_FALSE(server.client->size_of("a")) << "it is not listened to any more";
  }
}

TEST(ObjectClient, TakesNoObjectOfAnotherSize) {
  HostileServer server{[](const auto& channel, const Question& q) {
    (void)channel.send(wire(ObjectType::data), encode_data(q.number, "123"));
    (void)channel.send(wire(ObjectType::answer), Answer{.number = q.number, .found = true, .value = 10}.encode());
  }};
  EXPECT_EQ(fetch_of(*server.client, {.path = "a", .offset = 0, .size = 10}).error().code, Errc::unavailable);
}

TEST(ObjectClient, TakesNoPathsThatLeaveAFolder) {
  HostileServer server{[](const auto& channel, const Question& q) {
    (void)channel.send(wire(ObjectType::listed), encode_listed(q.number, {.path = "../../etc/passwd"}));
  }};
  const auto done = server.client->list("", [](const auto&) -> Result<void> {
    ADD_FAILURE() << "listed";
    return {};
  });
  EXPECT_EQ(done.error().code, Errc::invalid_argument);
}

TEST(ObjectClient, EndsEveryQuestionWhenTheOtherEndDies) {
  HostileServer server{[](const auto& channel, const Question& q) {
    (void)channel.send(wire(ObjectType::data), encode_data(q.number, "in the middle"));
  }};
  std::vector<std::future<Result<std::string>>> answers;
  for (int i = 0; i < 20; ++i) {
    const auto promise = std::make_shared<std::promise<Result<std::string>>>();
    answers.push_back(promise->get_future());
    server.client->fetch({.path = "a"}, [promise](Result<std::string> bytes) { promise->set_value(std::move(bytes)); });
  }
  for (auto& answer : answers) {
    const auto bytes = answer.get();
    ASSERT_FALSE(bytes);
    EXPECT_EQ(bytes.error().code, Errc::unavailable);
  }
  EXPECT_EQ(server.client->write("a", as_bytes("x"), Existing::keep).error().code, Errc::unavailable);
}

TEST(ObjectClient, EndsEveryQuestionWhenItIsDestroyed) {
  auto [ours, theirs] = channel_pair();
  std::promise<Result<std::string>> promise;
  {
    ObjectClient client{std::move(ours)};
    client.fetch({.path = "a"}, [&](Result<std::string> bytes) { promise.set_value(std::move(bytes)); });
  }
  EXPECT_FALSE(promise.get_future().get());
}

TEST(TransportMessages, ComeBackAsTheyWereSent) {
  const Question question{.number = 7,
                          .request = {.path = "blobs/a",
                                      .offset = 1ull << 40,
                                      .size = 123,
                                      .limit = ~std::uint64_t{0},
                                      .urgency = cdn::Urgency::background,
                                      .distrusted = 3},
                          .replace = true};
  const auto asked = Question::decode(question.encode()).value();
  EXPECT_EQ(asked.number, 7u);
  EXPECT_EQ(asked.request.path, "blobs/a");
  EXPECT_EQ(asked.request.offset, 1ull << 40);
  EXPECT_EQ(asked.request.size, 123u);
  EXPECT_EQ(asked.request.limit, ~std::uint64_t{0});
  EXPECT_EQ(asked.request.urgency, cdn::Urgency::background);
  EXPECT_EQ(asked.request.distrusted, 3u);
  EXPECT_TRUE(asked.replace);
  const Answer answer{.number = 8,
                      .error = Error{Errc::out_of_space, "full", 28},
                      .found = true,
                      .value = 9,
                      .counters = {.requests = 1,
                                   .bytes = 2,
                                   .retries = 3,
                                   .hedges = 4,
                                   .refused = 5,
                                   .cut_short = 6,
                                   .timed_out = 7,
                                   .distrusted = 8}};
  const auto answered = Answer::decode(answer.encode()).value();
  EXPECT_EQ(answered.encode(), answer.encode());
  EXPECT_EQ(answered.error->code, Errc::out_of_space);
  EXPECT_EQ(answered.error->context, "full");
  EXPECT_EQ(answered.error->sys_errno, 28);
  EXPECT_EQ(answered.counters.distrusted, 8u);
}

TEST(TransportMessages, CutAnywhereAreRefused) {
  const std::string question = Question{.number = 1, .request = {.path = ""}}.encode();
  for (std::size_t size = 0; size < question.size(); ++size) EXPECT_FALSE(Question::decode(question.substr(0, size)));
  const std::string answer = Answer{.number = 1}.encode();
  for (std::size_t size = 0; size < answer.size(); ++size) EXPECT_FALSE(Answer::decode(answer.substr(0, size)));
  EXPECT_FALSE(Data::decode(encode_data(1, "")));
  EXPECT_TRUE(Data::decode(encode_data(1, std::string(kMaxData, 'x'))));
  EXPECT_FALSE(Data::decode(encode_data(1, std::string(kMaxData + 1, 'x'))));
}

}  // namespace
}  // namespace stellarium::transport
