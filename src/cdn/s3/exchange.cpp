#include "cdn/s3/exchange.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <utility>

#include "cdn/s3/printable.h"

namespace stellarium::cdn::s3 {
namespace {

constexpr std::size_t kMaxIdle = 16;
constexpr std::size_t kMaxHeaders = 64u << 10;
constexpr std::uint64_t kMaxRefusal = 64u << 10;

struct SListFree {
  void operator()(curl_slist* list) const { ::curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, SListFree>;

void append(HeaderList& list, const std::string& line) {
  curl_slist* const longer = ::curl_slist_append(list.get(), line.c_str());
  if (longer == nullptr) throw std::bad_alloc{};
  static_cast<void>(list.release());  // it is the head of the longer one
  list.reset(longer);
}

template <typename Value>
void set(CURL* curl, CURLoption option, Value value) {
  const CURLcode code = ::curl_easy_setopt(curl, option, value);
  assert(code == CURLE_OK);  // libcurl refuses options that it was built without
  static_cast<void>(code);
}

/// An answer while it arrives.
struct Arriving {
  Reply reply;
  std::uint64_t limit = 0, received = 0;
  std::size_t header_bytes = 0;
  bool too_large = false, headers_too_large = false;

  bool begin_line(std::string_view line) {
    if (!line.starts_with("HTTP/")) return false;
    reply = {};  // one of a "100 Continue" before
    const std::size_t blank = line.find(' ');
    if (blank != std::string_view::npos)
      std::from_chars(line.data() + blank + 1, line.data() + line.size(), reply.status);
    return true;
  }
  void header_line(std::string_view line) {
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n' || line.back() == ' ')) line.remove_suffix(1);
    const std::size_t colon = line.find(':');
    if (begin_line(line) || colon == std::string_view::npos) return;
    std::string name{line.substr(0, colon)};
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    line.remove_prefix(colon + 1);
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    reply.headers[std::move(name)] = line;
  }
};

// What libcurl calls while it receives; anything but `size` ends the request.
std::size_t on_header(char* data, std::size_t /*one*/, std::size_t size, void* into) {
  auto& arriving = *static_cast<Arriving*>(into);
  arriving.header_bytes += size;
  arriving.headers_too_large = arriving.header_bytes > kMaxHeaders;
  if (arriving.headers_too_large) return 0;
  arriving.header_line({data, size});
  return size;
}

std::size_t on_body(char* data, std::size_t /*one*/, std::size_t size, void* into) {
  auto& arriving = *static_cast<Arriving*>(into);
  arriving.received += size;
  std::string& body = arriving.reply.body;
  if (arriving.reply.success()) {
    if (body.empty() && size > 0) {
      // Known sizes are refused before anything is kept, and others get their memory at once.
      const std::string* const announced = arriving.reply.header("content-length");
      std::uint64_t length = 0;
      if (announced != nullptr) std::from_chars(announced->data(), announced->data() + announced->size(), length);
      arriving.too_large = length > arriving.limit;
      if (!arriving.too_large) body.reserve(length);
    }
    arriving.too_large = arriving.too_large || size > arriving.limit - body.size();
    if (arriving.too_large) return 0;
    body.append(data, size);
  } else {
    // Why it refuses is said at the beginning; what follows is read past, but not for ever.
    body.append(data, std::min<std::size_t>(size, kMaxRefusal - std::min<std::size_t>(body.size(), kMaxRefusal)));
    if (arriving.received > 16 * kMaxRefusal) return 0;
  }
  return size;
}

bool is_passing(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_WEIRD_SERVER_REPLY:
      return true;
    default:
      return false;
  }
}

}  // namespace

struct Connections::Handle {
  CURL* const curl = ::curl_easy_init();
  std::array<char, CURL_ERROR_SIZE> error{};

  Handle() {
    if (curl == nullptr) throw std::bad_alloc{};
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { ::curl_easy_cleanup(curl); }
};

const std::string* Reply::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? nullptr : &found->second;
}

Connections::Connections(const Options& options)
    : ca_file_{options.ca_file}, connect_timeout_{options.connect_timeout} {
  static const CURLcode initialized = ::curl_global_init(CURL_GLOBAL_DEFAULT);
  assert(initialized == CURLE_OK);
}

Connections::~Connections() = default;

std::unique_ptr<Connections::Handle> Connections::take() {
  {
    const MutexLock lock{mutex_};
    if (!idle_.empty()) {
      std::unique_ptr<Handle> handle = std::move(idle_.back());
      idle_.pop_back();
      return handle;
    }
  }
  return std::make_unique<Handle>();
}

void Connections::give_back(std::unique_ptr<Handle> handle) {
  ::curl_easy_reset(handle->curl);  // options go, the open connection stays
  const MutexLock lock{mutex_};
  if (idle_.size() < kMaxIdle) idle_.push_back(std::move(handle));
}

Exchanged Connections::exchange(const Sending& sending) {
  std::unique_ptr<Handle> handle = take();
  CURL* const curl = handle->curl;
  handle->error[0] = '\0';
  Arriving arriving;
  arriving.limit = sending.limit;

  HeaderList headers;
  for (const auto& [name, value] : sending.headers) append(headers, name + ": " + value);
  set(curl, CURLOPT_URL, sending.url.c_str());
  set(curl, CURLOPT_PATH_AS_IS, 1L);
  set(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  set(curl, CURLOPT_FOLLOWLOCATION, 0L);
  set(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(curl, CURLOPT_NOSIGNAL, 1L);
  set(curl, CURLOPT_ERRORBUFFER, handle->error.data());
  set(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(connect_timeout_.count()));
  set(curl, CURLOPT_LOW_SPEED_LIMIT, 1024L);
  set(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(sending.stalled.count()));
  if (!ca_file_.empty()) set(curl, CURLOPT_CAINFO, ca_file_.c_str());
  if (sending.method == "HEAD") {
    set(curl, CURLOPT_NOBODY, 1L);
  } else if (sending.method == "PUT" || sending.method == "POST") {
    // Kept by the caller and sent from where it is, again if a kept connection turns out to be closed. Bodies over
    // 1 MiB wait a moment for the server's consent (Expect: 100-continue), so that a refusal does not cost an upload.
    set(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(sending.body.size()));
    set(curl, CURLOPT_POSTFIELDS, sending.body.empty() ? "" : as_text(sending.body).data());
    set(curl, CURLOPT_CUSTOMREQUEST, sending.method.c_str());
  } else {
    set(curl, CURLOPT_CUSTOMREQUEST, sending.method.c_str());
  }
  set(curl, CURLOPT_HTTPHEADER, headers.get());
  set(curl, CURLOPT_HEADERFUNCTION, &on_header);
  set(curl, CURLOPT_HEADERDATA, static_cast<void*>(&arriving));
  set(curl, CURLOPT_WRITEFUNCTION, &on_body);
  set(curl, CURLOPT_WRITEDATA, static_cast<void*>(&arriving));

  const CURLcode code = ::curl_easy_perform(curl);

  Exchanged exchanged;
  curl_off_t sent = 0;
  ::curl_easy_getinfo(curl, CURLINFO_SIZE_UPLOAD_T, &sent);
  exchanged.sent = static_cast<std::uint64_t>(sent);
  exchanged.received = arriving.received;
  if (code == CURLE_OK) {
    exchanged.reply = std::move(arriving.reply);
  } else {
    Broken& broken = exchanged.broken;
    broken.timed_out = code == CURLE_OPERATION_TIMEDOUT;
    broken.too_large = arriving.too_large;
    broken.passing = is_passing(code);
    broken.why = arriving.headers_too_large ? "its header lines are larger than 64 KiB"
                 : handle->error[0] != '\0' ? printable(handle->error.data())
                                            : ::curl_easy_strerror(code);
    if (code == CURLE_PEER_FAILED_VERIFICATION)
      broken.why += "; if it is to be trusted, name a file with its authority's certificates";
  }
  give_back(std::move(handle));
  return exchanged;
}

}  // namespace stellarium::cdn::s3
