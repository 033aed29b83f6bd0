#include "cdn/http/http_reader.h"

#include <gmock/gmock.h>

#include <atomic>
#include <cstdlib>
#include <fstream>

#include "reader_fixture.h"
#include "support/temp_dir.h"

namespace stellarium::cdn::http {
namespace {

using HttpReaderTest = ReaderTest;
using testing::HasSubstr;
using testing::Not;

TEST_F(HttpReaderTest, BringsWholeObjectsAndParts) {
  HttpServer server{good()};
  start({server.url() + "/base"});
  EXPECT_EQ(fetch(whole()), object);
  EXPECT_EQ(fetch(part(0, object.size())), object);
  EXPECT_EQ(fetch(part(1000, 5000)), object.substr(1000, 5000));
  ObjectRequest rest = whole();
  rest.offset = 299'000;
  EXPECT_EQ(fetch(rest), object.substr(299'000));
  EXPECT_EQ(server.requests()[0].path, "/base/blobs/x");
  EXPECT_EQ(server.requests()[0].field("range"), "");
  EXPECT_EQ(server.requests()[0].field("accept-encoding"), "identity");
  EXPECT_EQ(server.requests()[2].field("range"), "bytes=1000-5999");
  EXPECT_EQ(reader->counters().requests, 4u);
  EXPECT_EQ(reader->counters().retries, 0u);
  EXPECT_EQ(reader->counters().bytes, 2 * object.size() + 5000 + 1000);
}

TEST_F(HttpReaderTest, AsksNobodyForNothing) {
  HttpServer server{good()};
  start({server.url()});
  EXPECT_EQ(fetch(part(5, 0)), "");
  EXPECT_EQ(fails(whole("../x")).code, Errc::invalid_argument);
  EXPECT_EQ(fails(whole("a?b")).code, Errc::invalid_argument);
  EXPECT_EQ(fails(part(~std::uint64_t{0}, 2)).code, Errc::invalid_argument);
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(HttpReaderTest, RefusesWhatIsLargerThanTheLimit) {
  HttpServer server{good()};
  start({server.url()});
  const Error error = fails(whole("blobs/x", 1000));
  EXPECT_EQ(error.code, Errc::invalid_argument);
  EXPECT_THAT(error.context, HasSubstr("more than the limit of 1000"));
  EXPECT_LT(reader->counters().bytes, 1000u);
}

TEST_F(HttpReaderTest, TakesAnObjectInPiecesOfUnknownNumber) {
  HttpServer server{[](const auto&, auto& answer) {
    answer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  }};
  start({server.url()});
  EXPECT_EQ(fetch(whole()), "hello");
}

TEST_F(HttpReaderTest, SaysNotFoundOnlyIfEveryOriginDoes) {
  HttpServer none{always(404)}, neither{always(410)}, denies{always(403)}, busy{always(503)};
  start({none.url(), neither.url()});
  EXPECT_EQ(fails(whole()).code, Errc::not_found);
  start({none.url(), denies.url()});
  EXPECT_EQ(fails(whole()).code, Errc::permission);
  start({none.url(), busy.url()});
  const Error error = fails(whole());
  EXPECT_EQ(error.code, Errc::unavailable);
  EXPECT_THAT(error.context, HasSubstr("blobs/x: " + none.url() + " answers 404; " + busy.url() + " answers 503"));
}

TEST_F(HttpReaderTest, WhatIsWaitedForOvertakesTheRest) {
  HttpServer server{[this](const auto& request, auto& answer) {
    answer.pause(milliseconds{20});
    test::serve_object(object, request, answer);
  }};
  options.parallel = 1;
  start({server.url()});
  std::vector<std::future<Result<std::string>>> all;
  all.push_back(begin(whole("first")));
  while (server.requests().empty()) std::this_thread::yield();
  for (const auto& [path, urgency] : {std::pair{"background", Urgency::background},
                                      {"soon", Urgency::soon},
                                      {"waited-for", Urgency::waited_for},
                                      {"also", Urgency::waited_for}}) {
    ObjectRequest request = whole(path);
    request.urgency = urgency;
    all.push_back(begin(request));
  }
  for (auto& one : all) EXPECT_TRUE(one.get());
  std::vector<std::string> paths;
  for (const auto& request : server.requests()) paths.push_back(request.path);
  EXPECT_THAT(paths, testing::ElementsAre("/first", "/waited-for", "/also", "/soon", "/background"));
}

TEST_F(HttpReaderTest, NeverHasMoreUnderWayThanAllowed) {
  std::atomic<int> now = 0, most = 0;
  HttpServer server{[&](const auto& request, auto& answer) {
    const int mine = ++now;
    for (int seen = most; seen < mine && !most.compare_exchange_weak(seen, mine);) continue;
    answer.pause(milliseconds{10});
    --now;  // before the answer: the next one comes at once
    test::serve_object(object, request, answer);
  }};
  options.parallel = 20;
  options.memory = 3 * 1000;
  start({server.url()});
  std::vector<std::future<Result<std::string>>> all;
  for (unsigned n = 0; n < 30; ++n) all.push_back(begin(part(n, 1000)));
  for (unsigned n = 0; n < 30; ++n) EXPECT_EQ(all[n].get(), object.substr(n, 1000));
  EXPECT_EQ(most, 3);
}

TEST_F(HttpReaderTest, HoldsTheBackgroundToItsRateAndNobodyElse) {
  HttpServer server{good()};
  options.background_rate = 50'000;
  start({server.url()});
  const auto begun = Clock::now();
  std::vector<std::future<Result<std::string>>> slow;
  for (unsigned n = 0; n < 4; ++n) {
    ObjectRequest request = part(n, 10'000);
    request.urgency = Urgency::background;
    slow.push_back(begin(request));
  }
  for (unsigned n = 0; n < 10; ++n) EXPECT_TRUE(fetch(part(n, 100'000)));
  EXPECT_EQ(slow.back().wait_for(seconds{0}), std::future_status::timeout);
  for (auto& one : slow) EXPECT_TRUE(one.get());
  EXPECT_GE(Clock::now() - begun, milliseconds{600});  // the fourth waited for three
}

TEST_F(HttpReaderTest, TheRateCanBeChangedMeanwhile) {
  HttpServer server{good()};
  options.background_rate = 1;
  start({server.url()});
  ObjectRequest request = part(0, 10'000);
  request.urgency = Urgency::background;
  EXPECT_TRUE(fetch(request));  // whoever comes first
  auto held = begin(request);
  EXPECT_EQ(held.wait_for(milliseconds{50}), std::future_status::timeout);
  reader->set_background_rate(0);
  EXPECT_TRUE(held.get());
}

TEST_F(HttpReaderTest, WrongBytesAreAskedForElsewhereAndPastCaches) {
  HttpServer first{good()}, second{good()}, third{good()};
  start({first.url(), second.url(), third.url()});
  ObjectRequest request = part(0, 10);
  for (request.distrusted = 0; request.distrusted < 3; ++request.distrusted) EXPECT_TRUE(fetch(request));
  ASSERT_EQ(first.requests().size(), 1u);
  ASSERT_EQ(second.requests().size(), 1u);
  ASSERT_EQ(third.requests().size(), 1u);
  EXPECT_EQ(first.requests()[0].field("cache-control"), "");
  EXPECT_EQ(second.requests()[0].field("cache-control"), "no-cache");
  EXPECT_EQ(reader->counters().distrusted, 2u);
}

TEST_F(HttpReaderTest, EndsAtOnceWithWhatIsUnderWayCancelled) {
  HttpServer server{[](const auto&, auto& answer) { answer.hang(); }};
  options.parallel = 4;
  start({server.url()});
  std::vector<std::future<Result<std::string>>> all;
  for (unsigned n = 0; n < 20; ++n) all.push_back(begin(part(n, 10)));
  while (server.requests().size() < 4) std::this_thread::yield();
  const auto begun = Clock::now();
  reader.reset();
  EXPECT_LT(Clock::now() - begun, seconds{2});
  for (auto& one : all) EXPECT_EQ(one.get().error().code, Errc::cancelled);
}

TEST_F(HttpReaderTest, EveryCallIsAnsweredOnceWheneverItEnds) {
  HttpServer server{good()};
  for (int n = 0; n < 50; ++n) {
    start({server.url()});
    std::atomic<int> answers = 0, again = 0;
    for (int call = 0; call < 3; ++call)
      reader->fetch(part(0, 10), [&](const Result<std::string>& result) {
        ++answers;
        if (!result) reader->fetch(part(0, 10), [&](const Result<std::string>&) { ++again; });
      });
    if (n % 2 == 0)
      while (answers == 0) std::this_thread::yield();
    delete reader.get();  // not reset, which forgets it first: who is told that it ends may ask once more
    (void)reader.release();
    EXPECT_EQ(answers, 3);
    EXPECT_LE(again, 3);
  }
}

TEST_F(HttpReaderTest, MayBeAskedFromWhereItAnswers) {
  HttpServer server{good()};
  start({server.url()});
  std::promise<Result<std::string>> last;
  std::atomic<int> left = 100;
  std::function<void(Result<std::string>)> next = [&](Result<std::string> result) {
    if (!result || --left == 0) return last.set_value(std::move(result));
    reader->fetch(part(5, 5), next);
  };
  reader->fetch(part(5, 5), next);
  EXPECT_EQ(last.get_future().get(), object.substr(5, 5));
}

TEST_F(HttpReaderTest, SendsATokenAndTakesTheNewOneFromItsFile) {
  const test::TempDir dir;
  std::ofstream{dir / "token"} << "old-secret\n";
  HttpServer server{[this](const auto& request, auto& answer) {
    if (request.field("authorization") != "Bearer new-secret") return answer.send(401, "", "no");
    test::serve_object(object, request, answer);
  }};
  options.token_file = dir / "token";
  start({server.url()});
  const Error error = fails(whole());
  EXPECT_EQ(error.code, Errc::permission);
  EXPECT_THAT(error.context, Not(HasSubstr("secret")));
  EXPECT_EQ(server.requests()[0].field("authorization"), "Bearer old-secret");
  std::ofstream{dir / "token"} << "new-secret\n";
  EXPECT_EQ(fetch(whole()), object);
}

TEST_F(HttpReaderTest, SendsWhatTheNetrcFileSaysOfTheHost) {
  const test::TempDir dir;
  std::ofstream{dir / "netrc"} << "machine 127.0.0.1 login user password secret\n";
  HttpServer server{good()};
  options.netrc_file = dir / "netrc";
  start({server.url()});
  EXPECT_TRUE(fetch(whole()));
  EXPECT_EQ(server.requests()[0].field("authorization"), "Basic dXNlcjpzZWNyZXQ=");
}

TEST_F(HttpReaderTest, AsksAProxyForWhatItDoesNotKnowItself) {
  HttpServer proxy{good()};
  options.proxy = proxy.url();
  start({"http://cdn.example/images"});
  EXPECT_EQ(fetch(part(5, 5)), object.substr(5, 5));
  EXPECT_EQ(proxy.requests()[0].path, "http://cdn.example/images/blobs/x");
}

TEST_F(HttpReaderTest, TheEnvironmentNamesNoProxy) {
  const test::DeadPort dead;
  ::setenv("http_proxy", dead.url().c_str(), 1);
  HttpServer server{good()};
  start({server.url()});
  EXPECT_TRUE(fetch(part(5, 5)));
  EXPECT_EQ(reader->counters().retries, 0u);
  ::unsetenv("http_proxy");
}

TEST_F(HttpReaderTest, RefusesOptionsThatCannotBe) {
  const test::TempDir dir;
  std::ofstream{dir / "token"} << "secret\n";
  const auto refuses = [](Options wrong) {
    const auto made = HttpReader::create(std::move(wrong));
    return !made && made.error().code == Errc::invalid_argument;
  };
  Options right = options;
  right.origins = {"https://cdn.example/images"};
  EXPECT_FALSE(refuses(right));
  for (const char* origin :
       {"", "cdn.example", "ftp://cdn.example", "file:///images", "https://user:word@cdn.example"}) {
    Options wrong = right;
    wrong.origins = {origin};
    EXPECT_TRUE(refuses(wrong)) << origin;
  }
  Options wrong = right;
  wrong.origins.clear();
  EXPECT_TRUE(refuses(wrong));
  wrong = right;
  wrong.origins.emplace_back("http://cdn.example");
  EXPECT_FALSE(refuses(wrong));
  wrong.token_file = dir / "token";
  EXPECT_TRUE(refuses(wrong));  // it would be read on the way
  wrong = right;
  wrong.request_bound = milliseconds{0};
  EXPECT_TRUE(refuses(wrong));
  wrong = right;
  wrong.user_agent = "a\r\nInjected: b";
  EXPECT_TRUE(refuses(wrong));
  wrong = right;
  wrong.proxy = "http://user:word@proxy";
  EXPECT_TRUE(refuses(wrong));
}

}  // namespace
}  // namespace stellarium::cdn::http
