#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "cdn/s3/credentials.h"

// AWS Signature Version 4, the header form with the payload's hash ("Signature Calculations for the Authorization
// Header" in the S3 API reference). Our own, because the signer of libcurl 7.88 gets some headers wrong: it neither
// sorts them nor signs all of them.
namespace stellarium::cdn::s3 {

using Fields = std::vector<std::pair<std::string, std::string>>;

struct SigningScope {
  std::string region, service = "s3";
};

/// What is signed. Nothing in it is encoded yet.
struct UnsignedRequest {
  std::string_view method;
  std::string_view path;  ///< absolute
  const Fields& query;
  const Fields& headers;  ///< all are signed; names in lower case, each once; `host` and `x-amz-date` are among them
  std::string_view payload_hash;  ///< sha256_hex of the body
};

std::string sha256_hex(ByteSpan bytes);  ///< 64 lower-case digits

/// Percent-encodes all but [A-Za-z0-9-._~], and slashes where `keep_slashes`: as the signature wants it, and as it is
/// sent.
std::string uri_encoded(std::string_view text, bool keep_slashes);

/// Encoded and sorted: this is sent, too, so that nothing between here and the server sees another order than was
/// signed.
std::string canonical_query(const Fields& query);

/// "20130524T000000Z"
std::string amz_time(std::int64_t seconds_since_1970);

/// The value of the Authorization header. `time` is what x-amz-date says.
std::string authorization(const UnsignedRequest& request, const Credentials& credentials, const SigningScope& scope,
                          std::string_view time);

}  // namespace stellarium::cdn::s3
