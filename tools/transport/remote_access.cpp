#include "tools/transport/remote_access.h"

#include <algorithm>

namespace stellarium::transport {

const std::vector<RemoteAccess::Field>& RemoteAccess::fields() {
  static const std::vector<Field> all{
      {"ca-file", &RemoteAccess::ca_file, "FILE", "certificates (PEM) that sign the server's, instead of the system's"},
      {"certificate-file", &RemoteAccess::certificate_file, "FILE", "this client's certificate (PEM)"},
      {"key-file", &RemoteAccess::key_file, "FILE", "the key of that certificate (PEM)"},
      {"netrc-file", &RemoteAccess::netrc_file, "FILE", "users and passwords, as netrc(5) has them"},
      {"token-file", &RemoteAccess::token_file, "FILE", "a bearer token in one line"},
      {"proxy", &RemoteAccess::proxy, "URL", "http://, https:// or socks5h:// proxy; the environment's is not used"},
      {"s3-endpoint", &RemoteAccess::endpoint, "URL", "where the S3 server is; else Amazon's of the region"},
      {"s3-region", &RemoteAccess::region, "NAME", "region of the bucket"},
      {"s3-credentials-file", &RemoteAccess::credentials_file, "FILE",
       "keys, as AWS tools have them in ~/.aws/credentials; else $AWS_ACCESS_KEY_ID and its like"},
      {"s3-profile", &RemoteAccess::profile, "NAME", "which of the keys in that file"},
  };
  return all;
}

Result<BaseKind> kind_of_base(const std::string& base) {
  const std::size_t scheme = base.find("://");
  if (scheme == std::string::npos) {
    if (base.empty()) return fail(Errc::invalid_argument, "a remote without an address");
    return BaseKind::folder;
  }
  const std::string name = base.substr(0, scheme), rest = base.substr(scheme + 3);
  // Not quoted: what is there is a secret.
  if (rest.substr(0, rest.find('/')).find('@') != std::string::npos)
    return fail(Errc::invalid_argument, "an address with a user in it: passwords come from files (--netrc-file)");
  if (rest.empty() || rest.front() == '/') return fail(Errc::invalid_argument, base + " names no host");
  if (name == "http" || name == "https") return BaseKind::http;
  if (name == "s3") return BaseKind::s3;
  return fail(Errc::invalid_argument, base + ": a remote is a folder, or begins with https://, http:// or s3://");
}

std::vector<std::string> words_of(const RemoteAccess& access) {
  std::vector<std::string> words;
  for (const std::string& base : access.bases) words.push_back("--base=" + base);
  for (const RemoteAccess::Field& field : RemoteAccess::fields())
    if (const std::string& value = access.*field.member; !value.empty())
      words.push_back(std::string{"--"} + field.name + "=" + value);
  return words;
}

Result<RemoteAccess> access_of(const std::vector<std::string>& words) {
  RemoteAccess access;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (name == "--base") {
      access.bases.push_back(value);
      continue;
    }
    const auto& fields = RemoteAccess::fields();
    const auto field = std::ranges::find_if(
        fields, [&](const RemoteAccess::Field& each) { return "--" + std::string{each.name} == name; });
    if (field == fields.end()) return fail(Errc::invalid_argument, "no option of the transport: " + name);
    access.*field->member = value;
  }
  if (access.bases.empty()) return fail(Errc::invalid_argument, "a remote without an address");
  const auto first = kind_of_base(access.bases.front());
  if (!first) return fail(first.error());
  for (const std::string& base : access.bases) {
    const auto kind = kind_of_base(base);
    if (!kind) return fail(kind.error());
    if (*kind != *first || (*kind != BaseKind::http && access.bases.size() > 1))
      return fail(Errc::invalid_argument, "several addresses of a remote must all be of web servers");
  }
  return access;
}

}  // namespace stellarium::transport
