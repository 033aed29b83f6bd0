#include "cdn/s3/credentials.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/io.h"
#include "base/unique_fd.h"

namespace stellarium::cdn::s3 {
namespace {

constexpr std::size_t kMaxFile = 256u << 10;
constexpr std::size_t kMaxValue = 16u << 10;  // session tokens are the longest, a few KiB

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// They become header lines and parts of a signature: a line break or a blank in one would be another header.
Result<Credentials> checked(Credentials found, const std::string& where) {
  if (found.key_id.empty() || found.secret.empty())
    return fail(Errc::invalid_argument,
                where + ": " + (found.key_id.empty() ? "the access key" : "the secret key") + " is missing");
  for (const std::string* value : {&found.key_id, &found.secret, &found.session_token}) {
    const bool plain = std::all_of(value->begin(), value->end(), [](char c) { return c > ' ' && c < 0x7f; });
    if (!plain || value->size() > kMaxValue)
      return fail(Errc::invalid_argument, where + ": a key has characters that no key has");
  }
  return found;
}

Result<std::string> text_of(const std::filesystem::path& path) {
  // Not blocking: a FIFO by that name would wait for its writer for ever.
  const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!file) return fail_errno("opening the credentials file " + path.string());
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail_errno("reading the credentials file " + path.string());
  if (!S_ISREG(status.st_mode))
    return fail(Errc::invalid_argument, "the credentials file " + path.string() + " is not a regular file");
  std::string text(kMaxFile + 1, '\0');
  const auto size = system_io().read_at(file.get(), std::as_writable_bytes(std::span{text}), 0);
  if (!size) return fail(size.error(), "reading the credentials file " + path.string());
  if (*size > kMaxFile)
    return fail(Errc::invalid_argument, "the credentials file " + path.string() + " is larger than 256 KiB");
  text.resize(*size);
  return text;
}

/// Which keys a line of a file names; nothing: one that means nothing to us (region, output …).
std::string* value_of(Credentials& credentials, std::string_view key) {
  if (key == "aws_access_key_id") return &credentials.key_id;
  if (key == "aws_secret_access_key") return &credentials.secret;
  if (key == "aws_session_token") return &credentials.session_token;
  return nullptr;
}

}  // namespace

Result<Credentials> parse_credentials(std::string_view text, std::string_view profile) {
  Credentials credentials;
  bool ours = false, found = false;
  for (unsigned number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    const auto malformed = [number](const char* why) {
      return fail(Errc::invalid_argument, "line " + std::to_string(number) + ": " + why);
    };
    if (line.front() == '[') {
      if (line.back() != ']') return malformed("a profile's name ends with ']'");
      ours = trimmed(line.substr(1, line.size() - 2)) == profile;
      if (ours && std::exchange(found, true)) return malformed("this profile is there twice");
      continue;
    }
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) return malformed("neither [PROFILE] nor KEY = VALUE");
    if (!ours) continue;
    std::string* const value = value_of(credentials, trimmed(line.substr(0, equals)));
    if (value != nullptr) *value = trimmed(line.substr(equals + 1));
  }
  if (!found) return fail(Errc::not_found, "there is no profile [" + std::string{profile} + "]");
  return checked(std::move(credentials), "profile [" + std::string{profile} + "]");
}

Result<Credentials> find_credentials(const CredentialSources& sources) {
  const auto variable = [&](const char* name) -> std::string {
    const char* const value = sources.environment ? sources.environment(name) : std::getenv(name);
    return value != nullptr ? value : "";
  };
  Credentials ours{variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"), variable("AWS_SESSION_TOKEN")};
  const bool asked = !sources.file.empty() || !sources.profile.empty();
  if (!asked && (!ours.key_id.empty() || !ours.secret.empty()))
    return checked(std::move(ours), "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");

  std::filesystem::path file = sources.file;
  if (file.empty()) file = variable("AWS_SHARED_CREDENTIALS_FILE");
  if (const std::string home = variable("HOME"); file.empty() && !home.empty())
    file = std::filesystem::path{home} / ".aws" / "credentials";
  std::string profile = sources.profile;
  if (profile.empty()) profile = variable("AWS_PROFILE");
  if (profile.empty()) profile = "default";

  constexpr const char* kNone = "no keys for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to ";
  if (file.empty()) return fail(Errc::not_found, std::string{kNone} + "~/.aws/credentials");
  const auto text = text_of(file);
  if (!text && text.error().code == Errc::not_found && !asked) return fail(Errc::not_found, kNone + file.string());
  if (!text) return fail(text.error());
  auto found = parse_credentials(*text, profile);
  if (!found) return fail(found.error(), "the credentials file " + file.string());
  return found;
}

}  // namespace stellarium::cdn::s3
