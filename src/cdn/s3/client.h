#pragma once
#include <atomic>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "cdn/s3/credentials.h"
#include "cdn/s3/exchange.h"
#include "cdn/s3/options.h"
#include "cdn/s3/sigv4.h"

namespace stellarium::cdn::s3 {

struct Counters {
  std::uint64_t requests = 0;            ///< sent, repeated ones included
  std::uint64_t sent = 0, received = 0;  ///< bytes of bodies, used or not
  std::uint64_t retries = 0;
  std::uint64_t refused = 0;  ///< answers of 5xx and 429
  std::uint64_t broken = 0;   ///< no answer, or not all of one; those that timed out included
  std::uint64_t timed_out = 0;
};

/// What is wanted of the server.
struct Request {
  std::string method;
  std::string key{};          ///< of the object; empty: the bucket itself
  Fields query{}, headers{};  ///< headers besides those of every request; names in lower case
  ByteSpan body{};
  std::uint64_t limit = 1u << 20;  ///< of the answer's body
  bool slow = false;               ///< the server may think for minutes
  bool may_refuse_late = false;    ///< its 200 may hold an error: it was sent before the work was done
};

/// What a server says that refuses, and the part that it speaks of.
struct Refusal {
  std::string code, message, region;
};
Refusal refusal_of(const Reply& reply);

/// Signs requests, sends them, and sends them again where that may help.
///
/// Retries: after 500, 502, 503, 504, 429 and what means the same (SlowDown, RequestTimeout, a conflict with another
///          request), and after connections that broke; Options::tries times in all, with waits that double, are made
///          longer where the server says how long (up to Options::longest_wait), and of which a random half is left
///          out. So a request can be carried out twice: who sends it must know what that means.
/// Threads: all functions may be called concurrently.
class Client {
 public:
  Client(const Options& options, Address address, Credentials credentials);

  /// The answer, which may be a refusal that no retry would change.
  /// Errors: unavailable (none within the tries; or none can be had: no such host, no trust in its certificate),
  /// invalid_argument (larger than `limit`).
  [[nodiscard]] Result<Reply> send(const Request& request);

  /// The error that a refusal is, in one line: what, where, and what to do.
  [[nodiscard]] Error error_of(const Reply& reply) const;

  const Options& options() const { return options_; }
  const Address& address() const { return address_; }
  Counters counters() const;

 private:
  Sending signed_request(const Request& request) const;
  Exchanged attempt(const Request& request);
  std::int64_t now() const;
  std::string without_keys(std::string text) const;

  const Options options_;
  const Address address_;
  const Credentials credentials_;
  Connections connections_;
  std::atomic<std::uint64_t> requests_{0}, sent_{0}, received_{0}, retries_{0}, refused_{0}, broken_{0}, timed_out_{0};
};

}  // namespace stellarium::cdn::s3
