#include "cdn/s3/client.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <random>
#include <thread>
#include <utility>

#include "cdn/s3/xml.h"

namespace stellarium::cdn::s3 {
namespace {

/// How much longer than usual a server may be silent that puts an object together from parts.
constexpr int kSlowFactor = 5;

bool is_passing(int status, const std::string& code) {
  switch (status) {
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      return true;
    case 400:
      return code == "RequestTimeout";
    case 409:
      return code == "OperationAborted" || code == "ConditionalRequestConflict";
    default:
      return code == "SlowDown";
  }
}

/// From half of `wait` to all of it: many clients that were refused together do not come again together.
std::chrono::milliseconds jittered(std::chrono::milliseconds wait) {
  thread_local std::minstd_rand random{std::random_device{}()};
  const auto half = wait.count() / 2;
  return std::chrono::milliseconds{wait.count() - half + std::uniform_int_distribution<std::int64_t>{0, half}(random)};
}

/// What the server asks us to wait; only its form in seconds.
std::chrono::seconds asked_wait(const Reply& reply) {
  const std::string* const text = reply.header("retry-after");
  unsigned seconds = 0;
  if (text != nullptr) std::from_chars(text->data(), text->data() + text->size(), seconds);
  return std::chrono::seconds{seconds};
}

}  // namespace

Refusal refusal_of(const Reply& reply) {
  Refusal refusal;
  // A body that is no XML (a proxy's page) leaves the status alone to speak.
  const auto read = read_xml(reply.body, [&](std::string_view path, std::string_view text) -> Result<void> {
    if (path == "Error/Code") refusal.code = text;
    if (path == "Error/Message") refusal.message = text;
    if (path == "Error/Region") refusal.region = text;
    return {};
  });
  if (!read) refusal = {};
  if (const std::string* const region = reply.header("x-amz-bucket-region")) refusal.region = *region;
  return refusal;
}

Client::Client(const Options& options, Address address, Credentials credentials)
    : options_{options}, address_{std::move(address)}, credentials_{std::move(credentials)}, connections_{options_} {}

std::int64_t Client::now() const {
  return options_.clock ? options_.clock() : std::int64_t{std::time(nullptr)};
}

Sending Client::signed_request(const Request& request) const {
  const std::string time = amz_time(now());
  std::string path = address_.base_path + request.key;
  // "/BUCKET/" and "/BUCKET" are both the bucket; the shorter one is what servers sign.
  if (request.key.empty() && path.size() > 1) path.pop_back();

  Sending sending;
  sending.method = request.method;
  sending.body = request.body;
  sending.limit = request.limit;
  sending.stalled = options_.stalled * (request.slow ? kSlowFactor : 1);
  sending.headers = request.headers;
  const std::string hash = sha256_hex(request.body);
  // Also so that libcurl adds no type of its own, which would not be signed.
  if (request.method == "PUT" || request.method == "POST")
    sending.headers.emplace_back("content-type", "application/octet-stream");
  sending.headers.emplace_back("host", address_.host);
  sending.headers.emplace_back("x-amz-content-sha256", hash);
  sending.headers.emplace_back("x-amz-date", time);
  if (!credentials_.session_token.empty())
    sending.headers.emplace_back("x-amz-security-token", credentials_.session_token);
  std::string signature = authorization({request.method, path, request.query, sending.headers, hash}, credentials_,
                                        {options_.region}, time);
  sending.headers.emplace_back("authorization", std::move(signature));

  sending.url = address_.scheme + address_.host + uri_encoded(path, true);
  if (!request.query.empty()) sending.url += "?" + canonical_query(request.query);
  return sending;
}

Exchanged Client::attempt(const Request& request) {
  Exchanged exchanged = connections_.exchange(signed_request(request));
  ++requests_;
  sent_ += exchanged.sent;
  received_ += exchanged.received;
  if (!exchanged.reply) {
    broken_ += exchanged.broken.too_large ? 0 : 1;
    timed_out_ += exchanged.broken.timed_out ? 1 : 0;
    return exchanged;
  }
  Reply& reply = *exchanged.reply;
  if (request.may_refuse_late && reply.success() && !refusal_of(reply).code.empty()) {
    const std::string code = refusal_of(reply).code;
    reply.status = code == "InternalError" || code == "SlowDown" || code == "ServiceUnavailable" ? 500 : 400;
  }
  refused_ += reply.status >= 500 || reply.status == 429 ? 1 : 0;
  return exchanged;
}

Result<Reply> Client::send(const Request& request) {
  std::chrono::milliseconds wait = options_.first_wait;
  for (unsigned tried = 1;; ++tried) {
    Exchanged exchanged = attempt(request);
    std::chrono::milliseconds asked{0};
    if (exchanged.reply) {
      if (!is_passing(exchanged.reply->status, refusal_of(*exchanged.reply).code)) return std::move(*exchanged.reply);
      asked = asked_wait(*exchanged.reply);
    } else if (exchanged.broken.too_large) {
      return fail(Errc::invalid_argument, "it is larger than " + std::to_string(request.limit) + " bytes");
    } else if (!exchanged.broken.passing) {
      return fail(Errc::unavailable, without_keys(address_.shown + ": " + exchanged.broken.why));
    }
    if (tried >= options_.tries) {
      const std::string tries = " (" + std::to_string(tried) + " tries)";
      if (!exchanged.reply)
        return fail(Errc::unavailable, without_keys(address_.shown + ": " + exchanged.broken.why + tries));
      Error error = error_of(*exchanged.reply);
      error.code = Errc::unavailable;
      error.context += tries;
      return fail(std::move(error));
    }
    ++retries_;
    std::this_thread::sleep_for(std::max(jittered(wait), std::min(asked, options_.longest_wait)));
    wait = std::min(2 * wait, options_.longest_wait);
  }
}

std::string Client::without_keys(std::string text) const {
  // A server or a proxy may repeat a request's headers in its answer.
  for (const std::string* key : {&credentials_.session_token, &credentials_.secret, &credentials_.key_id}) {
    for (std::size_t at = 0; !key->empty() && (at = text.find(*key, at)) != std::string::npos;)
      text.replace(at, key->size(), "(key)");
  }
  return text;
}

Counters Client::counters() const {
  return {requests_, sent_, received_, retries_, refused_, broken_, timed_out_};
}

}  // namespace stellarium::cdn::s3
