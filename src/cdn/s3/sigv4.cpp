#include "cdn/s3/sigv4.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <ctime>

namespace stellarium::cdn::s3 {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

using Digest = std::array<unsigned char, 32>;

std::string hex(const Digest& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * digest.size());
  for (const unsigned char byte : digest) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

Digest hmac(std::string_view key, std::string_view text) {
  Digest digest{};
  unsigned size = 0;
  const unsigned char* const done =
      ::HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &size);
  assert(done != nullptr && size == digest.size());
  static_cast<void>(done);
  return digest;
}

std::string_view view(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

/// Without blanks around it, and with one for several inside.
std::string canonical_value(std::string_view value) {
  std::string text;
  for (const char byte : value) {
    if (byte != ' ' || (!text.empty() && text.back() != ' ')) text.push_back(byte);
  }
  if (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace

std::string sha256_hex(ByteSpan bytes) {
  Digest digest{};
  unsigned size = 0;
  const int done = ::EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  assert(done == 1 && size == digest.size());
  static_cast<void>(done);
  return hex(digest);
}

std::string uri_encoded(std::string_view text, bool keep_slashes) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char byte : text) {
    const auto code = static_cast<unsigned char>(byte);
    const bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                       byte == '-' || byte == '.' || byte == '_' || byte == '~' || (byte == '/' && keep_slashes);
    if (plain) {
      encoded.push_back(byte);
    } else {
      encoded.push_back('%');
      encoded.push_back(kDigits[code >> 4]);
      encoded.push_back(kDigits[code & 15]);
    }
  }
  return encoded;
}

std::string canonical_query(const Fields& query) {
  Fields sorted;
  for (const auto& [name, value] : query) sorted.emplace_back(uri_encoded(name, false), uri_encoded(value, false));
  std::sort(sorted.begin(), sorted.end());
  std::string text;
  for (const auto& [name, value] : sorted) {
    if (!text.empty()) text += '&';
    text.append(name).append("=").append(value);
  }
  return text;
}

std::string amz_time(std::int64_t seconds_since_1970) {
  const std::time_t seconds = seconds_since_1970;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  const std::size_t size = std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
  return {text, size};
}

std::string authorization(const UnsignedRequest& request, const Credentials& credentials, const SigningScope& scope,
                          std::string_view time) {
  Fields headers;
  for (const auto& [name, value] : request.headers) headers.emplace_back(name, canonical_value(value));
  std::sort(headers.begin(), headers.end());
  std::string names, lines;
  for (const auto& [name, value] : headers) {
    if (!names.empty()) names += ';';
    names += name;
    lines.append(name).append(":").append(value).append("\n");
  }

  std::string canonical{request.method};
  canonical.append("\n").append(uri_encoded(request.path, true));
  canonical.append("\n").append(canonical_query(request.query));
  canonical.append("\n").append(lines).append("\n").append(names).append("\n").append(request.payload_hash);

  const std::string_view day = time.substr(0, 8);
  std::string place{day};
  place.append("/").append(scope.region).append("/").append(scope.service).append("/aws4_request");
  std::string to_sign{kAlgorithm};
  to_sign.append("\n").append(time).append("\n").append(place).append("\n").append(sha256_hex(as_bytes(canonical)));

  std::string secret = "AWS4" + credentials.secret;
  Digest key = hmac(secret, day);
  OPENSSL_cleanse(secret.data(), secret.size());
  for (const std::string_view part :
       {std::string_view{scope.region}, std::string_view{scope.service}, std::string_view{"aws4_request"}})
    key = hmac(view(key), part);
  const std::string signature = hex(hmac(view(key), to_sign));
  OPENSSL_cleanse(key.data(), key.size());

  std::string text{kAlgorithm};
  text.append(" Credential=").append(credentials.key_id).append("/").append(place);
  text.append(", SignedHeaders=").append(names).append(", Signature=").append(signature);
  return text;
}

}  // namespace stellarium::cdn::s3
