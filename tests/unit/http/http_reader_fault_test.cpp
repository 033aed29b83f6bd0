// What servers and networks do wrong.
#include <gmock/gmock.h>

#include <atomic>
#include <fstream>
#include <future>

#include "reader_fixture.h"
#include "support/temp_dir.h"

namespace stellarium::cdn::http {
namespace {

using HttpReaderFault = ReaderTest;
using testing::HasSubstr;

TEST_F(HttpReaderFault, ATroubledServerIsAskedAgain) {
  std::atomic<int> asked = 0;
  HttpServer server{[&](const auto& request, auto& answer) {
    if (++asked <= 3) return answer.send(asked == 1 ? 429 : 503, "", "");
    test::serve_object(object, request, answer);
  }};
  start({server.url()});
  EXPECT_EQ(fetch(whole()), object);
  EXPECT_EQ(reader->counters().refused, 3u);
  EXPECT_EQ(reader->counters().retries, 3u);
}

TEST_F(HttpReaderFault, ThePauseThatAServerAsksForIsKept) {
  std::atomic<int> asked = 0;
  HttpServer server{[&](const auto& request, auto& answer) {
    if (++asked == 1) return answer.send(503, "Retry-After: 1\r\n", "");
    test::serve_object(object, request, answer);
  }};
  start({server.url()});
  EXPECT_EQ(fetch(whole()), object);
  ASSERT_EQ(server.requests().size(), 2u);
  EXPECT_GE(server.requests()[1].at - server.requests()[0].at, milliseconds{990});
}

TEST_F(HttpReaderFault, APauseThatIsTooLongEndsTheRequest) {
  HttpServer server{always(503, "Retry-After: 3600\r\n")};
  start({server.url()});
  const auto begun = Clock::now();
  EXPECT_EQ(fails(whole()).code, Errc::unavailable);
  EXPECT_LT(Clock::now() - begun, seconds{2});
}

TEST_F(HttpReaderFault, ACutBodyIsGoneOnWith) {
  HttpServer server{[this](const auto& request, auto& answer) {
    const auto [first, size] = test::asked_range(request, object.size());
    const std::size_t sent = std::min<std::size_t>(size, 100'000);
    answer.send(test::part_head(first, size, object.size()));
    answer.send(std::string_view{object}.substr(first, sent));
    if (sent < size) answer.close();
  }};
  start({server.url()});
  EXPECT_EQ(fetch(part(10, 250'000)), object.substr(10, 250'000));
  ASSERT_EQ(server.requests().size(), 3u);
  EXPECT_EQ(server.requests()[1].field("range"), "bytes=100010-250009");
  EXPECT_EQ(server.requests()[2].field("range"), "bytes=200010-250009");
  EXPECT_EQ(reader->counters().cut_short, 2u);
}

TEST_F(HttpReaderFault, AWholeObjectThatIsCutIsGoneOnWithAndTakenAnewIfItChanged) {
  std::atomic<int> asked = 0;
  const std::string other = object.substr(0, 200'000);
  HttpServer server{[&](const auto& request, auto& answer) {
    if (++asked > 1) return test::serve_object(other, request, answer);
    answer.send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
    answer.send(std::string_view{object}.substr(0, 1000));
    answer.close();
  }};
  start({server.url()});
  EXPECT_EQ(fetch(whole()), other);
  ASSERT_EQ(server.requests().size(), 3u);
  EXPECT_EQ(server.requests()[1].field("range"), "bytes=1000-");
  EXPECT_EQ(server.requests()[2].field("range"), "");
}

TEST_F(HttpReaderFault, AServerWithoutRangesWillDoForWholeObjects) {
  std::atomic<int> asked = 0;
  HttpServer server{[&](const auto&, auto& answer) {
    if (++asked == 2) {
      answer.send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
      answer.send(std::string_view{object}.substr(0, 1000));
      return answer.close();
    }
    answer.send(200, "", object);
  }};
  start({server.url()});
  EXPECT_EQ(fetch(part(0, object.size())), object);
  EXPECT_EQ(fetch(part(0, object.size())), object);  // cut, and then from the start
  const Error error = fails(part(0, 1000));
  EXPECT_EQ(error.code, Errc::unavailable);
  EXPECT_THAT(error.context, HasSubstr("knows ranges"));
}

TEST_F(HttpReaderFault, WrongAnswersAreNotTakenAndAnotherOriginIsAsked) {
  const std::string extra(70'000, 'x');
  const std::string huge_header = "HTTP/1.1 206 Partial\r\nX-Long: " + std::string(1u << 20, 'x') + "\r\n\r\n";
  const std::vector<std::pair<const char*, HttpServer::Script>> wrong{
      {"another range", [&](const auto&, auto& answer) { answer.send(test::part_head(1, 100, 300'000) + extra); }},
      {"a shorter range", [&](const auto&, auto& answer) { answer.send(test::part_head(0, 99, 300'000) + extra); }},
      {"no range",
       [&](const auto&, auto& answer) { answer.send("HTTP/1.1 206 .\r\nContent-Length: 100\r\n\r\n" + extra); }},
      {"encoded",
       [&](const auto&, auto& answer) {
         answer.send(
             "HTTP/1.1 206 .\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\nContent-Range: bytes "
             "0-99/300000\r\n\r\n");
         answer.send(std::string_view{extra}.substr(0, 100));
       }},
      {"no HTTP", [&](const auto&, auto& answer) { answer.send("220 mail.example ESMTP\r\n\r\n"), answer.close(); }},
      {"nothing", [&](const auto&, auto& answer) { answer.close(); }},
      {"a header of 1 MiB", [&](const auto&, auto& answer) { answer.send(huge_header); }},
      {"endless headers",
       [&](const auto&, auto& answer) {
         answer.send("HTTP/1.1 206 Partial\r\n");
         while (!answer.gone()) answer.send("X: y\r\n");
       }},
      {"endless body in pieces",
       [&](const auto&, auto& answer) {
         answer.send("HTTP/1.1 206 .\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 0-99/300000\r\n\r\n");
         while (!answer.gone()) answer.send("1000\r\n" + std::string(0x1000, 'x') + "\r\n");
       }},
      {"endless error",
       [&](const auto&, auto& answer) {
         answer.send("HTTP/1.1 500 .\r\nTransfer-Encoding: chunked\r\n\r\n");
         while (!answer.gone()) answer.send("1000\r\n" + std::string(0x1000, 'x') + "\r\n");
       }},
      {"a redirect to a file",
       [&](const auto&, auto& answer) { answer.send(302, "Location: file:///etc/passwd\r\n", ""); }},
      {"a redirect with a user",
       [&](const auto&, auto& answer) { answer.send(302, "Location: http://a:b@127.0.0.1/\r\n", ""); }},
      {"a redirect to itself", [&](const auto&, auto& answer) { answer.send(302, "Location: /blobs/x\r\n", ""); }},
      {"a redirect to nowhere", [&](const auto&, auto& answer) { answer.send(302, "", ""); }},
  };
  HttpServer right{good()};
  for (const auto& [what, script] : wrong) {
    SCOPED_TRACE(what);
    HttpServer server{script};
    start({server.url(), right.url()});
    EXPECT_EQ(fetch(part(0, 100)), object.substr(0, 100));
    options.tries = 3;
    start({server.url()});
    EXPECT_EQ(fails(part(0, 100)).code, Errc::unavailable);
    EXPECT_LT(reader->counters().bytes, 4u << 20);
  }
}

TEST_F(HttpReaderFault, AnEndlessObjectOfUnknownSizeIsLeftAtTheLimit) {
  HttpServer server{[](const auto&, auto& answer) {
    answer.send("HTTP/1.1 200 .\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (!answer.gone()) answer.send("1000\r\n" + std::string(0x1000, 'x') + "\r\n");
  }};
  start({server.url()});
  EXPECT_EQ(fails(whole("names/x", 10'000)).code, Errc::invalid_argument);
  EXPECT_EQ(reader->counters().requests, 1u);
}

TEST_F(HttpReaderFault, ARedirectIsFollowedAFewTimes) {
  HttpServer server{[this](const auto& request, auto& answer) {
    const int hops = request.path == "/blobs/x" ? 0 : std::stoi(request.path.substr(1));
    if (hops < 5) return answer.send(302, "Location: /" + std::to_string(hops + 1) + "\r\n", "");
    test::serve_object(object, request, answer);
  }};
  start({server.url()});
  EXPECT_EQ(fetch(part(7, 70)), object.substr(7, 70));
  EXPECT_EQ(server.requests().back().field("range"), "bytes=7-76");
}

TEST_F(HttpReaderFault, CredentialsDoNotFollowARedirectToOthers) {
  const test::TempDir dir;
  std::ofstream{dir / "token"} << "secret\n";
  HttpServer target{good()};
  HttpServer server{[&](const auto& request, auto& answer) {
    if (request.path == "/blobs/x") return answer.send(302, "Location: /own\r\n", "");
    answer.send(302, "Location: " + target.url() + "/there?signature=1\r\n", "");
  }};
  options.token_file = dir / "token";
  start({server.url()});
  EXPECT_EQ(fetch(whole()), object);
  ASSERT_EQ(server.requests().size(), 2u);
  EXPECT_EQ(server.requests()[1].field("authorization"), "Bearer secret");
  ASSERT_EQ(target.requests().size(), 1u);
  EXPECT_EQ(target.requests()[0].field("authorization"), "");  // the same host, another port
}

TEST_F(HttpReaderFault, ADeadOriginIsSkippedAfterAWhileAndTriedAgain) {
  const test::DeadPort dead;
  HttpServer server{good()};
  start({dead.url(), server.url()});
  for (unsigned n = 0; n < 20; ++n) EXPECT_TRUE(fetch(part(n, 10)));
  EXPECT_EQ(reader->counters().retries, 5u);

  options.first_skip = milliseconds{50};
  start({dead.url(), server.url()});
  const auto begun = Clock::now();
  while (reader->counters().retries < 7 && Clock::now() - begun < seconds{10}) EXPECT_TRUE(fetch(part(0, 10)));
  EXPECT_EQ(reader->counters().retries, 7u);
  EXPECT_GE(Clock::now() - begun, milliseconds{150});  // skipped for 50 ms, and then for 100
}

TEST_F(HttpReaderFault, AnOriginThatOnlyAcceptsHoldsUpAllForOneBoundOfAConnection) {
  const test::DeadPort full{/*listening=*/true};
  HttpServer server{good()};
  options.connect_bound = milliseconds{200};
  start({"https" + full.url().substr(4), server.url()});
  const auto begun = Clock::now();
  std::vector<std::future<Result<std::string>>> all;
  for (unsigned n = 0; n < 20; ++n) all.push_back(begin(part(n, 10)));  // which would share its connection
  for (unsigned n = 0; n < 20; ++n) EXPECT_EQ(all[n].get(), object.substr(n, 10));
  EXPECT_LT(Clock::now() - begun, seconds{2});
}

TEST_F(HttpReaderFault, NobodyThereIsUnavailable) {
  const test::DeadPort dead;
  start({dead.url()});
  const Error error = fails(whole());
  EXPECT_EQ(error.code, Errc::unavailable);
  EXPECT_THAT(error.context, HasSubstr(dead.url() + " cannot be reached"));
  EXPECT_THAT(error.context, HasSubstr("16 tries"));
}

TEST_F(HttpReaderFault, ABodyThatDripsIsGivenUpAndGoneOnWithElsewhere) {
  HttpServer slow{[this](const auto& request, auto& answer) {
    const auto [first, size] = test::asked_range(request, object.size());
    answer.send(test::part_head(first, size, object.size()));
    answer.send(std::string_view{object}.substr(first, 100));
    for (std::size_t at = first + 100; answer.pause(milliseconds{20}); ++at)
      answer.send(std::string_view{object}.substr(at, 1));
  }};
  HttpServer server{good()};
  options.slow_window = milliseconds{200};
  options.slowest = 1000;
  start({slow.url(), server.url()});
  EXPECT_EQ(fetch(part(0, 1000)), object.substr(0, 1000));
  EXPECT_EQ(reader->counters().timed_out, 1u);
  EXPECT_THAT(server.requests()[0].field("range"), testing::Not("bytes=0-999"));
}

TEST_F(HttpReaderFault, NothingTakesLongerThanItsBound) {
  HttpServer drips{[](const auto&, auto& answer) {
    answer.send("HTTP/1.1 206 .\r\nContent-Length: 1000\r\nContent-Range: bytes 0-999/1000\r\n\r\n");
    while (answer.pause(milliseconds{10})) answer.send("x");
  }};
  HttpServer drips_header{[](const auto&, auto& answer) {
    answer.send("HTTP/1.1 206 .\r\n");
    while (answer.pause(milliseconds{10})) answer.send("X: y\r\n");
  }};
  HttpServer hangs{[](const auto&, auto& answer) { answer.hang(); }};
  const test::DeadPort full{/*listening=*/true};  // accepted by the kernel, and by nobody else
  options.request_bound = milliseconds{300};
  for (const std::string& url : {drips.url(), drips_header.url(), hangs.url(), full.url()}) {
    start({url});
    const auto begun = Clock::now();
    const Error error = fails(part(0, 1000));
    EXPECT_EQ(error.code, Errc::unavailable);
    EXPECT_THAT(error.context, HasSubstr("when the time was over"));
    EXPECT_GE(Clock::now() - begun, milliseconds{300});
    EXPECT_LT(Clock::now() - begun, seconds{2});
  }
}

TEST_F(HttpReaderFault, ASecondRequestOvertakesASlowOne) {
  HttpServer silent{[](const auto&, auto& answer) { answer.hang(); }};
  HttpServer server{good()};
  options.hedge_share = 0.05;
  options.hedge_at_first = milliseconds{50};
  start({silent.url(), server.url()});
  EXPECT_EQ(fetch(part(0, 1000)), object.substr(0, 1000));
  EXPECT_EQ(reader->counters().hedges, 1u);
  EXPECT_EQ(reader->counters().retries, 0u);
  auto second = begin(part(0, 1000));  // one in twenty
  EXPECT_EQ(second.wait_for(milliseconds{150}), std::future_status::timeout);
  EXPECT_EQ(reader->counters().hedges, 1u);
}

TEST_F(HttpReaderFault, ASecondRequestToTheOnlyOriginTakesAConnectionOfItsOwn) {
  std::atomic<int> asked = 0;
  HttpServer server{[&](const auto& request, auto& answer) {
    if (++asked == 1) return answer.hang();
    test::serve_object(object, request, answer);
  }};
  options.hedge_share = 0.05;
  options.hedge_at_first = milliseconds{50};
  start({server.url()});
  EXPECT_EQ(fetch(part(0, 1000)), object.substr(0, 1000));
  EXPECT_EQ(reader->counters().hedges, 1u);
}

}  // namespace
}  // namespace stellarium::cdn::http
