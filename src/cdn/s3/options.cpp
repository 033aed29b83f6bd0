#include "cdn/s3/options.h"

#include <algorithm>
#include <string_view>

#include "cdn/objects.h"
#include "cdn/s3/printable.h"

namespace stellarium::cdn::s3 {
namespace {

bool is_word(std::string_view text, std::string_view more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != std::string_view::npos;
  });
}

/// Also what servers other than Amazon's take; but nothing that would make another address.
bool is_bucket(std::string_view name) {
  return name.size() >= 3 && name.size() <= 63 && is_word(name, "-._") && name.front() != '.' && name.front() != '-' &&
         name.back() != '.' && name.find("..") == std::string_view::npos;
}

}  // namespace

Result<Address> address_of(const Options& options) {
  const auto wrong = [](std::string what) { return fail(Errc::invalid_argument, std::move(what)); };
  Address address;
  std::string_view rest = options.endpoint;
  if (rest.find('@') != std::string_view::npos)
    return wrong("an S3 endpoint has no user or password in it: keys come from the environment or a credentials file");
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (rest.starts_with(scheme)) address.scheme = scheme;
  }
  rest.remove_prefix(address.scheme.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (address.scheme.empty() || !is_word(rest, ".-:[]") || rest.front() == ':')
    return wrong("'" + printable(options.endpoint) +
                 "' is no S3 endpoint: it looks like https://HOST or http://HOST:PORT");
  if (!is_bucket(options.bucket)) return wrong("'" + printable(options.bucket) + "' is no name of a bucket");
  if (!is_word(options.region, "-_")) return wrong("'" + printable(options.region) + "' is no name of a region");
  if (!options.prefix.empty() && !is_object_path(options.prefix))
    return wrong("'" + printable(options.prefix) +
                 "' is no prefix: parts of letters, digits and ._+- between single slashes, none at the ends");
  address.host = rest;
  address.base_path = "/";
  if (options.addressing == Addressing::path) {
    address.base_path += options.bucket + "/";
  } else {
    // A certificate for *.HOST does not cover a.b.HOST.
    if (options.bucket.find('.') != std::string::npos && address.scheme == "https://")
      return wrong("bucket '" + options.bucket + "' has a dot in its name: address it by path, not by host name");
    address.host = options.bucket + "." + address.host;
  }
  if (!options.prefix.empty()) address.key_prefix = options.prefix + "/";
  address.shown = address.scheme + std::string{rest} + "/" + options.bucket;
  return address;
}

}  // namespace stellarium::cdn::s3
