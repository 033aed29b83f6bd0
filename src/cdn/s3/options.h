#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"

namespace stellarium::cdn::s3 {

/// How the bucket is named in a request.
enum class Addressing : std::uint8_t {
  path,          ///< https://HOST/BUCKET/KEY: what every server understands
  virtual_host,  ///< https://BUCKET.HOST/KEY
};

/// Which bucket, and how patiently. Keys are no part of it (credentials.h).
struct Options {
  std::string endpoint;  ///< http://HOST[:PORT] or https://HOST[:PORT]
  std::string region = "us-east-1";
  std::string bucket;
  std::string
      prefix;  ///< of all objects: empty, or an object path; "images" makes "blobs/ab" the key "images/blobs/ab"
  Addressing addressing = Addressing::path;
  std::string ca_file;  ///< certificates (PEM) that sign the server's, instead of the system's; empty: those

  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::seconds stalled{60};  ///< without a byte worth mentioning (1 KiB/s), a connection is broken
  unsigned tries = 8;                ///< of one request
  std::chrono::milliseconds first_wait{200}, longest_wait{10'000};  ///< between them; the wait doubles

  std::uint64_t parts_over = 16u << 20;  ///< objects larger than this go up in parts …
  std::uint64_t part_size = 8u << 20;  ///< … of so many bytes, or more if there would be over 10,000. S3's least: 5 MiB

  std::function<std::int64_t()> clock;  ///< seconds since 1970; nothing: the system's
};

/// The pieces of addresses, checked once.
struct Address {
  std::string scheme, host;  ///< host with its port, as in the Host line
  std::string base_path;     ///< "/" or "/BUCKET/"
  std::string key_prefix;    ///< "" or "images/"
  std::string shown;         ///< for people: endpoint and bucket
};

/// Errors: invalid_argument, with what to correct; an address with a user or a password in it is refused unquoted.
[[nodiscard]] Result<Address> address_of(const Options& options);

}  // namespace stellarium::cdn::s3
