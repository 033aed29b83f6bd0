#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace stellarium::transport {

/// How to reach a remote: where its objects are, and the files that hold what it takes to get them. Never a secret
/// itself.
struct RemoteAccess {
  std::vector<std::string> bases;  ///< http:// and https:// addresses, the preferred one first; or one folder or s3://
  std::string ca_file, certificate_file, key_file, netrc_file, token_file, proxy;
  std::string endpoint, region, credentials_file, profile;  ///< of s3://
  bool operator==(const RemoteAccess&) const = default;

  /// Every member but the bases, by the name that it has as an option and in files.
  struct Field {
    const char* name;
    std::string RemoteAccess::*member;
    const char* type;
    const char* meaning;
  };
  static const std::vector<Field>& fields();
};

enum class BaseKind : unsigned char { folder, http, s3 };
/// Errors: invalid_argument (another scheme; a user or a password in it: they are told by files).
[[nodiscard]] Result<BaseKind> kind_of_base(const std::string& base);

/// The arguments of stellarium-transport that say the same, and back. Errors: invalid_argument.
std::vector<std::string> words_of(const RemoteAccess& access);
[[nodiscard]] Result<RemoteAccess> access_of(const std::vector<std::string>& words);

}  // namespace stellarium::transport
