#include "cdn/http/address.h"

#include <algorithm>
#include <array>
#include <optional>

#include "cdn/http/curl_handles.h"
#include "cdn/http/http_fields.h"

namespace stellarium::cdn::http {
namespace {

std::optional<std::string> part_of(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return std::nullopt;
  const CurlText owned{text};
  return std::string{text};
}

bool has_user(CURLU* url) {
  return part_of(url, CURLUPART_USER) || part_of(url, CURLUPART_PASSWORD);
}

/// Nothing: it is no URL.
CurlUrl parsed(const std::string& url, unsigned flags) {
  constexpr std::size_t kLongest = 8192;
  CurlUrl handle{curl_url()};
  if (url.size() > kLongest || !handle || curl_url_set(handle.get(), CURLUPART_URL, url.c_str(), flags) != CURLUE_OK)
    return nullptr;
  return handle;
}

Result<Address> address_of(CURLU* url) {
  Address address{.scheme = part_of(url, CURLUPART_SCHEME).value_or(""),
                  .host = part_of(url, CURLUPART_HOST).value_or(""),
                  .port = part_of(url, CURLUPART_PORT, CURLU_DEFAULT_PORT).value_or("")};
  if (address.scheme != "https" && address.scheme != "http")
    return fail(Errc::invalid_argument, "an address must begin with https:// or http://");
  if (address.host.empty()) return fail(Errc::invalid_argument, "an address must name a host");
  if (has_user(url))
    return fail(Errc::invalid_argument, "an address must not hold a user or a password: use a netrc file");
  std::ranges::transform(address.host, address.host.begin(), lower_case);
  return address;
}

}  // namespace

bool Address::local() const {
  const bool numbers = host.find_first_not_of("0123456789.") == std::string::npos;
  return host == "localhost" || host == "[::1]" || (numbers && host.starts_with("127."));
}

std::string Address::name() const {
  const bool usual = port == (scheme == "https" ? "443" : "80");
  return scheme + "://" + host + (usual ? "" : ":" + port);
}

Result<Address> parse_address(const std::string& url) {
  // Of any scheme: what is refused should be refused by its name.
  const CurlUrl handle = parsed(url, CURLU_NON_SUPPORT_SCHEME);
  if (!handle) return fail(Errc::invalid_argument, "not an address");
  return address_of(handle.get());
}

Result<Origin> parse_origin(const std::string& base) {
  const CurlUrl handle = parsed(base, CURLU_NON_SUPPORT_SCHEME);
  if (!handle) return fail(Errc::invalid_argument, "an origin must be an address like https://HOST/FOLDER");
  auto address = address_of(handle.get());
  if (!address) return fail(address.error());
  if (part_of(handle.get(), CURLUPART_QUERY) || part_of(handle.get(), CURLUPART_FRAGMENT))
    return fail(Errc::invalid_argument, address->name() + ": the address of an origin has no query and no fragment");
  Origin origin{.address = *std::move(address), .base = base};
  while (origin.base.ends_with('/')) origin.base.pop_back();
  return origin;
}

Result<void> check_proxy(const std::string& url) {
  static constexpr std::array<std::string_view, 4> kSchemes{"http", "https", "socks5", "socks5h"};
  const CurlUrl handle = parsed(url, CURLU_NON_SUPPORT_SCHEME);
  if (!handle || std::ranges::find(kSchemes, part_of(handle.get(), CURLUPART_SCHEME).value_or("")) == kSchemes.end())
    return fail(Errc::invalid_argument, "a proxy must be an address like http://HOST:PORT or socks5h://HOST:PORT");
  if (has_user(handle.get()))
    return fail(Errc::invalid_argument, "the address of a proxy must not hold a user or a password");
  return {};
}

}  // namespace stellarium::cdn::http
