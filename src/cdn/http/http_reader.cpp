#include "cdn/http/http_reader.h"

#include <algorithm>
#include <utility>

#include "cdn/http/fetch_loop.h"

namespace stellarium::cdn::http {
namespace {

Result<void> check_numbers(const Options& options) {
  const auto positive = [](milliseconds bound) { return bound.count() > 0 && bound <= std::chrono::hours{24}; };
  if (!positive(options.request_bound) || !positive(options.connect_bound) || !positive(options.slow_window))
    return fail(Errc::invalid_argument, "a bound of time must be more than nothing, and a day at most");
  if (!positive(options.first_pause) || !positive(options.longest_pause) || !positive(options.first_skip) ||
      !positive(options.longest_skip) || !positive(options.hedge_at_first))
    return fail(Errc::invalid_argument, "a pause must be more than nothing, and a day at most");
  if (options.tries == 0 || options.parallel == 0 || options.skip_after == 0 || options.memory == 0)
    return fail(Errc::invalid_argument, "tries, parallel requests, failures and memory must be at least 1");
  if (options.parallel > 1024) return fail(Errc::invalid_argument, "at most 1,024 parallel requests");
  if (!(options.hedge_factor >= 1) || !(options.hedge_share >= 0 && options.hedge_share <= 1))
    return fail(Errc::invalid_argument, "a hedge comes after at least once the usual time, for a share of 0 to 1");
  const auto printable = [](char byte) { return byte >= ' ' && byte < 0x7f; };
  if (!std::ranges::all_of(options.user_agent, printable))
    return fail(Errc::invalid_argument, "a user agent is one line of plain characters");
  return {};
}

Result<std::vector<Origin>> parse_origins(const Options& options, const Secrets& secrets) {
  if (options.origins.empty()) return fail(Errc::invalid_argument, "a remote needs at least one origin");
  std::vector<Origin> origins;
  for (const std::string& base : options.origins) {
    auto origin = parse_origin(base);
    if (!origin) return fail(origin.error());
    if (secrets.has_words() && !origin->address.secret() && !origin->address.local())
      return fail(Errc::invalid_argument,
                  origin->address.name() + ": a token or a password would be sent unencrypted: use https://");
    origins.push_back(*std::move(origin));
  }
  return origins;
}

Result<void> check_request(const ObjectRequest& request) {
  constexpr std::uint64_t kEnd = std::uint64_t{1} << 62;  // far beyond any object, far from where sums wrap
  if (!is_object_path(request.path)) return fail(Errc::invalid_argument, "not the path of an object");
  if (request.offset > kEnd || request.size.value_or(request.limit) > kEnd)
    return fail(Errc::invalid_argument, request.path + ": no object has so many bytes");
  return {};
}

}  // namespace

Result<std::unique_ptr<HttpReader>> HttpReader::create(Options options) {
  if (auto checked = check_numbers(options); !checked) return fail(checked.error());
  if (!options.proxy.empty())
    if (auto checked = check_proxy(options.proxy); !checked) return fail(checked.error());
  auto secrets = Secrets::read(options);
  if (!secrets) return fail(secrets.error());
  auto origins = parse_origins(options, *secrets);
  if (!origins) return fail(origins.error());
  // What libcurl cannot do is better known now.
  auto trial = Transfer::create(options, *secrets, origins->front(), 0, {.path = "a", .asked = {}}, Clock::now());
  if (!trial) return fail(trial.error());
  trial->reset();
  return std::unique_ptr<HttpReader>{
      new HttpReader{std::make_unique<FetchLoop>(std::move(options), *std::move(origins), *std::move(secrets))}};
}

HttpReader::HttpReader(std::unique_ptr<FetchLoop> loop) : loop_{std::move(loop)} {}
HttpReader::~HttpReader() = default;

void HttpReader::fetch(ObjectRequest request, Done done) {
  auto checked = check_request(request);
  loop_->fetch(std::move(request), std::move(done), std::move(checked));
}

ObjectReader::Counters HttpReader::counters() const {
  return loop_->counters();
}

void HttpReader::set_background_rate(std::uint64_t rate) {
  loop_->set_background_rate(rate);
}

}  // namespace stellarium::cdn::http
