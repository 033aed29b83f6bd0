#pragma once
#include <string>

#include "base/result.h"
#include "cdn/http/address.h"
#include "cdn/http/options.h"

namespace stellarium::cdn::http {

/// What the files say that Options names, read once, so that a wrong one is noticed at the start. None of it is ever
/// part of an error. (The netrc file is read by libcurl.)
class Secrets {
 public:
  /// Errors: not_found, permission, io; invalid_argument (a file that is empty, too large or not what it should be; a
  /// certificate without its key; a token and a netrc file).
  static Result<Secrets> read(const Options& options);

  const std::string& ca() const { return ca_; }
  const std::string& certificate() const { return certificate_; }
  const std::string& key() const { return key_; }
  const std::string& netrc_file() const { return netrc_file_; }
  const std::string& token() const { return token_; }

  bool has_words() const { return !token_.empty() || !netrc_file_.empty(); }  ///< that must not be overheard
  /// Reads the token's file again: tokens end. Whether it has another one now.
  bool renew_token();

 private:
  std::string ca_, certificate_, key_, netrc_file_, token_file_, token_;
};

}  // namespace stellarium::cdn::http
