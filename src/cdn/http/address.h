#pragma once
#include <string>

#include "base/result.h"

namespace stellarium::cdn::http {

/// Who is spoken to: what decides whether credentials may go there.
struct Address {
  std::string scheme;  ///< "https" or "http"
  std::string host;    ///< in lower case
  std::string port;

  bool secret() const { return scheme == "https"; }  ///< whether nobody on the way reads along
  bool local() const;                                ///< this host itself
  std::string name() const;                          ///< "https://HOST", and ":PORT" where it is not the usual one
  bool operator==(const Address&) const = default;
};

/// Errors: invalid_argument (no address, another scheme, a user or a password in it). The address itself is not in the
/// error: it may hold what nobody should read.
Result<Address> parse_address(const std::string& url);

/// An origin of the remote.
struct Origin {
  Address address;
  std::string base;  ///< without a slash at its end

  std::string url(const std::string& path) const { return base + "/" + path; }
};

/// Errors: those of parse_address; invalid_argument (a query or a fragment).
Result<Origin> parse_origin(const std::string& base);

/// Whether it can be a proxy: http://, https://, socks5:// or socks5h://, and no user. Errors: invalid_argument.
Result<void> check_proxy(const std::string& url);

}  // namespace stellarium::cdn::http
