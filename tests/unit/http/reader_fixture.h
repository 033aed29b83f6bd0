#pragma once
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "cdn/http/http_reader.h"
#include "support/http_server.h"
#include "support/random_bytes.h"

namespace stellarium::cdn::http {

using std::chrono::seconds;
using test::HttpServer;

/// A reader whose pauses are short, and what it is asked for.
class ReaderTest : public testing::Test {
 protected:
  ReaderTest() {
    options.first_pause = milliseconds{5};
    options.longest_pause = milliseconds{20};
    options.first_skip = seconds{20};  // longer than any test
    options.hedge_share = 0;
  }

  void start(std::vector<std::string> origins) {
    options.origins = std::move(origins);
    auto made = HttpReader::create(options);
    ASSERT_TRUE(made) << made.error().context;
    reader = *std::move(made);
  }

  std::future<Result<std::string>> begin(ObjectRequest request) const {
    auto promise = std::make_shared<std::promise<Result<std::string>>>();
    auto future = promise->get_future();
    reader->fetch(std::move(request), [promise](Result<std::string> result) { promise->set_value(std::move(result)); });
    return future;
  }
  Result<std::string> fetch(ObjectRequest request) const { return begin(std::move(request)).get(); }
  static ObjectRequest part(std::uint64_t offset, std::uint64_t size) {
    ObjectRequest request;
    request.path = "blobs/x";
    request.offset = offset;
    request.size = size;
    return request;
  }
  static ObjectRequest whole(std::string path = "blobs/x", std::uint64_t limit = 16u << 20) {
    ObjectRequest request;
    request.path = std::move(path);
    request.limit = limit;
    return request;
  }
  /// The error of a request that must fail.
  Error fails(ObjectRequest request) const {
    auto result = fetch(std::move(request));
    EXPECT_FALSE(result);
    if (result) return {};
    EXPECT_EQ(result.error().context.find('\n'), std::string::npos) << result.error().context;
    return result.error();
  }
  /// Who serves `object` as it should be.
  HttpServer::Script good() const {
    return [this](const auto& request, auto& answer) { test::serve_object(object, request, answer); };
  }
  static HttpServer::Script always(int status, std::string fields = {}) {
    return [status, fields](const auto&, auto& answer) { answer.send(status, fields, "no"); };
  }

  const std::string object = std::string{as_text(test::random_bytes(1, 300'000))};
  Options options;
  std::unique_ptr<HttpReader> reader;
};

}  // namespace stellarium::cdn::http
