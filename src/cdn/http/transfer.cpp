#include "cdn/http/transfer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace stellarium::cdn::http {
namespace {

using Meaning = Judgement::Meaning;

constexpr std::uint64_t kSmallestBuffer = 16u << 10, kLargestBuffer = 256u << 10;  // of libcurl's, for what arrives
constexpr std::uint64_t kMostIgnored = 64u << 10;  // of an error's body: reading it keeps the connection
constexpr std::uint64_t kReserved = 16u << 20;     // more is not believed before it arrives

/// Sets options one after the other and keeps the first failure.
class Settings {
 public:
  explicit Settings(CURL* easy) : easy_{easy} {}
  template <typename T>
  Settings& set(CURLoption option, T value) {
    if (code_ == CURLE_OK) code_ = curl_easy_setopt(easy_, option, value);
    return *this;
  }
  Settings& text(CURLoption option, const std::string& value) { return set(option, value.c_str()); }
  /// Bytes that outlive the handle.
  Settings& blob(CURLoption option, const std::string& bytes) {
    curl_blob blob{const_cast<char*>(bytes.data()), bytes.size(), CURL_BLOB_NOCOPY};
    return set(option, &blob);
  }
  CURLcode code() const { return code_; }

 private:
  CURL* easy_;
  CURLcode code_ = CURLE_OK;
};

/// A connection whose other end is gone must not hold up every request on it: HTTP/2 has only one.
int prepare_socket(void* options, curl_socket_t socket, curlsocktype) {
  const auto unanswered = static_cast<unsigned>(static_cast<const Options*>(options)->connect_bound.count());
  (void)::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered, sizeof unanswered);
  (void)::fcntl(socket, F_SETFD, FD_CLOEXEC);
  return CURL_SOCKOPT_OK;
}

/// One line, whatever an origin could put into it.
std::string one_line(std::string text) {
  constexpr std::size_t kLongest = 200;
  if (text.size() > kLongest) text.resize(kLongest);
  std::ranges::replace_if(
      text, [](char byte) { return byte < ' ' || byte == 0x7f; }, '?');
  return text;
}

}  // namespace

Result<std::unique_ptr<Transfer>> Transfer::create(const Options& options, const Secrets& secrets, const Origin& origin,
                                                   unsigned origin_number, Request request, Clock::time_point now) {
  std::unique_ptr<Transfer> made{new Transfer{options, secrets, origin, origin_number, std::move(request)}};
  start_libcurl();
  made->easy_.reset(curl_easy_init());
  if (!made->easy_) return fail(Errc::not_supported, "libcurl does not start");
  if (const CURLcode code = made->configure(origin.url(made->request_.path), origin.address); code != CURLE_OK)
    return fail(Errc::not_supported, std::string{"this libcurl cannot do what is needed: "} + curl_easy_strerror(code));
  made->begin(now);
  return made;
}

CURLcode Transfer::configure(const std::string& url, const Address& address) {
  address_ = address;
  const bool share = address == origin_.address ? request_.share_connection : address.secret();
  const std::uint64_t buffer = std::clamp(request_.asked.size.value_or(0), kSmallestBuffer, kLargestBuffer);
  Settings settings{easy_.get()};
  settings.text(CURLOPT_URL, url)
      .set(CURLOPT_PRIVATE, this)
      .set(CURLOPT_ERRORBUFFER, error_)
      .set(CURLOPT_NOSIGNAL, 1L)
      .set(CURLOPT_PROTOCOLS_STR, "http,https")
      .set(CURLOPT_REDIR_PROTOCOLS_STR, "https")
      .set(CURLOPT_FOLLOWLOCATION, 0L)
      .set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L)
      .set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS))
      .set(CURLOPT_PIPEWAIT, share && !request_.new_connection ? 1L : 0L)
      .set(CURLOPT_FRESH_CONNECT, request_.new_connection ? 1L : 0L)
      .set(CURLOPT_SOCKOPTFUNCTION, prepare_socket)
      .set(CURLOPT_SOCKOPTDATA, &options_)
      .set(CURLOPT_TCP_KEEPALIVE, 1L)
      .set(CURLOPT_TCP_KEEPIDLE, 15L)
      .set(CURLOPT_TCP_KEEPINTVL, 5L)
      .set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_bound.count()))
      .set(CURLOPT_QUICK_EXIT, 1L)  // else giving up waits for a resolver that does not answer, and everybody with it
      .set(CURLOPT_BUFFERSIZE, static_cast<long>(buffer))
      .set(CURLOPT_HTTP_CONTENT_DECODING, 0L)
      .text(CURLOPT_USERAGENT, options_.user_agent)
      .text(CURLOPT_PROXY, options_.proxy)  // empty: none, not the environment's
      .set(CURLOPT_NOPROXY, "")
      .set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);

  headers_.reset();
  for (const char* line : {"Accept-Encoding: identity", request_.no_cache ? "Cache-Control: no-cache" : nullptr}) {
    curl_slist* longer = line == nullptr ? headers_.get() : curl_slist_append(headers_.get(), line);
    if (longer == nullptr) return CURLE_OUT_OF_MEMORY;
    (void)headers_.release();
    headers_.reset(longer);
  }
  settings.set(CURLOPT_HTTPHEADER, headers_.get());
  if (!request_.asked.whole()) settings.text(CURLOPT_RANGE, request_.asked.range());

  settings.set(CURLOPT_HEADERDATA, this)
      .set(
          CURLOPT_HEADERFUNCTION,
          +[](char* bytes, std::size_t, std::size_t size, void* self) {
            return static_cast<Transfer*>(self)->take_header({bytes, size});
          })
      .set(CURLOPT_WRITEDATA, this)
      .set(
          CURLOPT_WRITEFUNCTION, +[](char* bytes, std::size_t, std::size_t size, void* self) {
            return static_cast<Transfer*>(self)->take_body({bytes, size});
          });
  if (settings.code() != CURLE_OK) return settings.code();
  return configure_trust(address == origin_.address);
}

CURLcode Transfer::configure_trust(bool own) {
  Settings settings{easy_.get()};
  settings.set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2))
      .set(CURLOPT_SSL_VERIFYPEER, 1L)
      .set(CURLOPT_SSL_VERIFYHOST, 2L);
  if (!secrets_.ca().empty()) {
    settings.blob(CURLOPT_CAINFO_BLOB, secrets_.ca());
    settings.set(CURLOPT_CAPATH, static_cast<char*>(nullptr));  // else the system's would do as well
  }
  if (!own) return settings.code();  // nothing that is a secret goes to others
  if (!secrets_.certificate().empty()) {
    settings.blob(CURLOPT_SSLCERT_BLOB, secrets_.certificate()).blob(CURLOPT_SSLKEY_BLOB, secrets_.key());
    settings.set(CURLOPT_KEYPASSWD, "");  // else an encrypted key makes OpenSSL ask at the terminal
  }
  if (!secrets_.token().empty()) {
    settings.set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
    settings.text(CURLOPT_XOAUTH2_BEARER, secrets_.token());
  } else if (!secrets_.netrc_file().empty()) {
    settings.set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
    settings.set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_REQUIRED));
    settings.text(CURLOPT_NETRC_FILE, secrets_.netrc_file());
  }
  return settings.code();
}

void Transfer::begin(Clock::time_point now) {
  started_ = last_byte_ = window_ = now;
  window_bytes_ = received_;
  looked_at_connection_ = false;
}

bool Transfer::refuse(Meaning meaning, std::string text) {
  judgement_.meaning = meaning;
  judgement_.text = std::move(text);
  return false;
}

std::size_t Transfer::take_header(std::string_view line) {
  constexpr std::size_t kStop = 0;
  if (judgement_.meaning != Meaning::none) return line.size();  // a trailer
  last_byte_ = Clock::now();
  if (!head_.add(line, std::time(nullptr))) {
    refuse(Meaning::wrong, "sends a header of more than " + std::to_string(AnswerHead::kMostBytes >> 10) + " KiB");
    return kStop;
  }
  const bool end = line == "\r\n" || line == "\n";
  if (!end || (head_.status() >= 100 && head_.status() < 200)) return line.size();
  if (redirects_ == 0) wait_ = last_byte_ - started_;
  judgement_ = judge(head_, request_.asked);
  if (judgement_.meaning == Meaning::body && judgement_.size) part_.reserve(std::min(*judgement_.size, kReserved));
  // What is of no use is not read: it may be large.
  const bool refused = judgement_.meaning == Meaning::wrong || judgement_.meaning == Meaning::too_large ||
                       judgement_.meaning == Meaning::changed;
  return refused && head_.status() < 300 ? kStop : line.size();
}

std::size_t Transfer::take_body(std::string_view bytes) {
  constexpr std::size_t kStop = ~std::size_t{0};
  received_ += bytes.size();
  last_byte_ = Clock::now();
  if (judgement_.meaning != Meaning::body) {
    ignored_ += bytes.size();
    return ignored_ > kMostIgnored ? kStop : bytes.size();
  }
  if (judgement_.size && bytes.size() > *judgement_.size - part_.size()) {
    refuse(Meaning::wrong, "sends more bytes than it said");
    return kStop;
  }
  if (!request_.asked.size && bytes.size() > request_.asked.limit - start() - part_.size()) {
    refuse(Meaning::too_large, "has more bytes of it than the limit of " + std::to_string(request_.asked.limit));
    return kStop;
  }
  part_.append(bytes);
  return bytes.size();
}

std::string Transfer::curl_text(CURLcode code) const {
  return one_line(error_[0] != '\0' ? error_ : curl_easy_strerror(code));
}

Transfer::End Transfer::end(CURLcode code) {
  if (judgement_.meaning != Meaning::none && judgement_.meaning != Meaning::body)
    return {End::How::judged, judgement_.meaning, judgement_.text};
  if (judgement_.meaning == Meaning::body) {
    if (code == CURLE_OK && (!judgement_.size || part_.size() == *judgement_.size))
      return {End::How::delivered, Meaning::body, {}};
    const std::string of = judgement_.size ? " of " + std::to_string(*judgement_.size) : "";
    return {code == CURLE_OPERATION_TIMEDOUT ? End::How::timed_out : End::How::cut, Meaning::body,
            "stopped after " + std::to_string(part_.size()) + of + " bytes"};
  }
  const std::string why = " (" + curl_text(code) + ")";
  switch (code) {
    case CURLE_OK:
      return {End::How::judged, Meaning::wrong, "sends no answer"};
    case CURLE_OPERATION_TIMEDOUT:
      return {End::How::timed_out, Meaning::none, "does not answer" + why};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
      return {End::How::untrusted, Meaning::wrong,
              "is not trusted" + why + ": name the file of the certificates that it should be checked with"};
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return {End::How::untrusted, Meaning::wrong,
              "was not asked" + why + ": check the files of certificates and keys"};
    default:
      return {End::How::unreachable, Meaning::none, "cannot be reached" + why};
  }
}

Transfer::End Transfer::give_up_slow() const {
  const auto late = [](milliseconds bound) { return " within " + std::to_string(bound.count()) + " ms"; };
  if (judgement_.meaning == Meaning::body)
    return {End::How::timed_out, Meaning::body,
            "sends less than " + std::to_string(options_.slowest) + " bytes a second"};
  if (!connected()) return {End::How::timed_out, Meaning::none, "has no connection" + late(options_.connect_bound)};
  return {End::How::timed_out, Meaning::none, "did not answer" + late(options_.slow_window)};
}

std::string Transfer::text_when_late() const {
  if (judgement_.meaning != Meaning::body) return "had not answered when the time was over";
  return "had sent " + std::to_string(part_.size()) + " bytes when the time was over";
}

Result<void> Transfer::follow(Clock::time_point now) {
  const char* url = nullptr;
  if (curl_easy_getinfo(easy_.get(), CURLINFO_REDIRECT_URL, &url) != CURLE_OK || url == nullptr)
    return fail(Errc::invalid_argument, "redirects to nowhere");
  if (++redirects_ > kMostRedirects)
    return fail(Errc::invalid_argument, "redirects more than " + std::to_string(kMostRedirects) + " times");
  const std::string to = url;  // the handle's own goes with the reset
  auto address = parse_address(to);
  if (!address) return fail(address.error(), "redirects where nobody may go");
  if (address_.secret() && !address->secret())
    return fail(Errc::invalid_argument, "redirects from https:// to http://" + one_line(address->host));
  curl_easy_reset(easy_.get());
  head_ = {};
  judgement_ = {};
  ignored_ = 0;
  error_[0] = '\0';
  if (const CURLcode code = configure(to, *address); code != CURLE_OK)
    return fail(Errc::invalid_argument,
                std::string{"redirects where libcurl does not go: "} + curl_easy_strerror(code));
  begin(now);
  return {};
}

std::optional<Clock::duration> Transfer::take_wait() {
  return std::exchange(wait_, std::nullopt);
}

bool Transfer::connected() const {
  curl_off_t took = 0;  // microseconds
  return curl_easy_getinfo(easy_.get(), CURLINFO_PRETRANSFER_TIME_T, &took) != CURLE_OK || took != 0;
}

Clock::time_point Transfer::next_look() const {
  const Clock::time_point end = window_ + options_.slow_window;
  return looked_at_connection_ ? end : std::min(end, started_ + options_.connect_bound);
}

bool Transfer::too_slow(Clock::time_point now) {
  if (now < next_look()) return false;
  // libcurl bounds the making of a connection, but not the waiting for one that another transfer makes.
  if (!looked_at_connection_ && now >= started_ + options_.connect_bound) {
    looked_at_connection_ = true;
    if (!connected()) return true;
  }
  if (now < next_look()) return false;
  const double seconds = std::chrono::duration<double>(now - window_).count();
  const bool slow = static_cast<double>(received_ - window_bytes_) < static_cast<double>(options_.slowest) * seconds;
  window_ = now;
  window_bytes_ = received_;
  return slow;
}

std::optional<bool> Transfer::multiplexed() const {
  if (redirects_ > 0) return std::nullopt;  // that was another one's
  long version = 0;
  if (curl_easy_getinfo(easy_.get(), CURLINFO_HTTP_VERSION, &version) != CURLE_OK || version == 0) return std::nullopt;
  return version >= CURL_HTTP_VERSION_2_0;
}

}  // namespace stellarium::cdn::http
