// What a person is told when the server refuses.
#include <curl/curl.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "cdn/s3/client.h"
#include "cdn/s3/printable.h"

namespace stellarium::cdn::s3 {
namespace {

struct Known {
  std::string_view code;
  Errc errc;
  std::string_view words;
};

constexpr std::string_view kSecret =
    "the secret key does not belong to the access key: correct AWS_SECRET_ACCESS_KEY or the credentials file";
constexpr std::string_view kExpired = "the session token has expired: get new temporary keys";
constexpr std::string_view kFull = "there is no space left (a quota, or the server's disks)";

constexpr std::array kKnown{
    Known{"NoSuchBucket", Errc::not_found, "there is no such bucket: create it, or correct its name"},
    Known{"InvalidBucketName", Errc::invalid_argument, "the server takes no bucket of that name"},
    Known{"InvalidAccessKeyId", Errc::permission,
          "the server does not know the access key: correct AWS_ACCESS_KEY_ID or the credentials file"},
    Known{"SignatureDoesNotMatch", Errc::permission, kSecret},
    Known{"ExpiredToken", Errc::permission, kExpired},
    Known{"ExpiredTokenException", Errc::permission, kExpired},
    Known{"TokenRefreshRequired", Errc::permission, kExpired},
    Known{"InvalidToken", Errc::permission,
          "the session token is not one of these keys: correct AWS_SESSION_TOKEN, or unset it for permanent keys"},
    Known{"AccessDenied", Errc::permission,
          "these keys may not do this: allow them GetObject, PutObject, DeleteObject, AbortMultipartUpload and "
          "ListBucket"},
    Known{"QuotaExceeded", Errc::out_of_space, kFull},
    Known{"InsufficientCapacity", Errc::out_of_space, kFull},
    Known{"EntityTooLarge", Errc::invalid_argument, "the server takes no object of that size"},
    Known{"NotImplemented", Errc::not_supported, "the server does not offer this"},
};

std::optional<Known> known(std::string_view code) {
  for (const Known& each : kKnown) {
    if (each.code == code) return each;
  }
  return std::nullopt;
}

/// Where no code is sent (HEAD has no body) or an unknown one.
Known of_status(int status) {
  switch (status) {
    case 401:
    case 403:
      return {"", Errc::permission, "refused: the keys are wrong, or may not do this"};
    case 404:
      return {"", Errc::not_found, "it is not there"};
    case 501:
      return *known("NotImplemented");
    case 507:
      return {"", Errc::out_of_space, kFull};
    default:
      return {"", status >= 500 || status == 429 ? Errc::unavailable : Errc::io, "the server refused"};
  }
}

bool is_about_region(const Reply& reply, const Refusal& refusal) {
  return reply.status == 301 || reply.status == 307 || refusal.code == "PermanentRedirect" ||
         refusal.code == "TemporaryRedirect" || refusal.code == "AuthorizationHeaderMalformed" ||
         refusal.code == "IllegalLocationConstraintException" ||
         (reply.status == 400 && refusal.code.empty() && !refusal.region.empty());
}

std::string skew(const Reply& reply, std::int64_t now) {
  const std::string* const date = reply.header("date");
  const std::time_t theirs = date == nullptr ? -1 : ::curl_getdate(date->c_str(), nullptr);
  if (theirs < 0) return "the clock of this host is wrong: set it";
  const std::int64_t ahead = now - theirs;
  return "the clock of this host is " + std::to_string(std::llabs(ahead)) + " s " +
         (ahead < 0 ? "behind" : "ahead of") + " the server's: set it";
}

}  // namespace

Error Client::error_of(const Reply& reply) const {
  const Refusal refusal = refusal_of(reply);
  std::string marks = std::to_string(reply.status);
  // Keys go before anything is cut off, or half of one would stay.
  if (!refusal.code.empty()) marks += " " + printable(without_keys(refusal.code));
  const auto line = [&](Errc code, std::string words) {
    return Error{code, address_.shown + ": " + std::move(words) + " (" + marks + ")", 0};
  };
  if (refusal.code == "RequestTimeTooSkewed" || refusal.code == "RequestExpired")
    return line(Errc::permission, skew(reply, now()));
  if (is_about_region(reply, refusal)) {
    return refusal.region.empty() || refusal.region == options_.region
               ? line(Errc::invalid_argument, "the bucket is served elsewhere: correct the endpoint and the region")
               : line(Errc::invalid_argument, "the bucket is in region " + printable(without_keys(refusal.region)) +
                                                  ", not in " + options_.region +
                                                  ": correct the region and the endpoint");
  }
  if (const auto found = known(refusal.code)) return line(found->errc, std::string{found->words});
  std::string words{of_status(reply.status).words};
  if (!refusal.message.empty()) words += ": " + printable(without_keys(refusal.message));
  return line(of_status(reply.status).errc, std::move(words));
}

}  // namespace stellarium::cdn::s3
