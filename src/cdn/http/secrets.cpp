#include "cdn/http/secrets.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "base/io.h"

namespace stellarium::cdn::http {
namespace {

Result<std::string> read_file(const std::string& name) {
  constexpr std::size_t kLargest = 4u << 20;  // all the world's authorities are 200 KiB
  auto file = system_io().open(AT_FDCWD, name, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
  if (!file) return fail(file.error());
  std::string text(kLargest + 1, '\0');
  auto size = system_io().read_at(file->get(), std::as_writable_bytes(std::span{text}), 0);
  if (!size) return fail(size.error(), name);
  if (*size == 0 || *size > kLargest) return fail(Errc::invalid_argument, name + ": it is empty, or too large");
  text.resize(*size);
  text.shrink_to_fit();
  return text;
}

Result<std::string> read_pem(const std::string& name, const char* what) {
  if (name.empty()) return std::string{};
  auto text = read_file(name);
  if (text && text->find("-----BEGIN ") == std::string::npos)
    return fail(Errc::invalid_argument, name + ": not " + what + " in PEM format");
  return text;
}

Result<std::string> read_token(const std::string& name) {
  auto text = read_file(name);
  if (!text) return text;
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r' || text->back() == ' ')) text->pop_back();
  constexpr std::size_t kLongest = 16u << 10;
  const auto printable = [](char byte) { return byte > ' ' && byte < 0x7f; };
  if (text->empty() || text->size() > kLongest || !std::ranges::all_of(*text, printable))
    return fail(Errc::invalid_argument, name + ": a token is one line of letters, digits and signs");
  return text;
}

}  // namespace

Result<Secrets> Secrets::read(const Options& options) {
  if (options.certificate_file.empty() != options.key_file.empty())
    return fail(Errc::invalid_argument, "a client's certificate needs its key, and the other way round");
  if (!options.token_file.empty() && !options.netrc_file.empty())
    return fail(Errc::invalid_argument, "either a token or a netrc file, not both");
  Secrets secrets;
  auto ca = read_pem(options.ca_file, "certificates");
  if (!ca) return fail(ca.error());
  auto certificate = read_pem(options.certificate_file, "a certificate");
  if (!certificate) return fail(certificate.error());
  auto key = read_pem(options.key_file, "a key");
  if (!key) return fail(key.error());
  if (!options.netrc_file.empty())
    if (auto netrc = read_file(options.netrc_file); !netrc) return fail(netrc.error());
  if (!options.token_file.empty()) {
    auto token = read_token(options.token_file);
    if (!token) return fail(token.error());
    secrets.token_ = *std::move(token);
  }
  secrets.ca_ = *std::move(ca);
  secrets.certificate_ = *std::move(certificate);
  secrets.key_ = *std::move(key);
  secrets.netrc_file_ = options.netrc_file;
  secrets.token_file_ = options.token_file;
  return secrets;
}

bool Secrets::renew_token() {
  if (token_file_.empty()) return false;
  auto token = read_token(token_file_);
  if (!token || *token == token_) return false;  // one that cannot be read is being written, or is of no use
  token_ = *std::move(token);
  return true;
}

}  // namespace stellarium::cdn::http
