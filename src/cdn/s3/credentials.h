#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stellarium::cdn::s3 {

/// Who asks. None of this ever goes into a log, an error or a command line.
struct Credentials {
  std::string key_id, secret;
  std::string session_token;  ///< of temporary keys; else empty
};

/// Where keys are looked for, in the order that users of S3 know: a file or profile that was asked for; the environment
/// (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN); the profile AWS_PROFILE, else `default`, of the file
/// AWS_SHARED_CREDENTIALS_FILE, else ~/.aws/credentials.
struct CredentialSources {
  std::filesystem::path file{};
  std::string profile{};
  std::function<const char*(const char*)> environment{};  ///< nothing: the process's own
};

/// Errors: not_found (no keys anywhere), invalid_argument (incomplete or malformed), and what opening the file answers.
[[nodiscard]] Result<Credentials> find_credentials(const CredentialSources& sources);

/// One profile of a credentials file: `[name]` lines, then `key = value`; lines that begin with # or ; are comments.
/// Errors: not_found (no such profile), invalid_argument; they name lines, not what is in them.
[[nodiscard]] Result<Credentials> parse_credentials(std::string_view text, std::string_view profile);

}  // namespace stellarium::cdn::s3
