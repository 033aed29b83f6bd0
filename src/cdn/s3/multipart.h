#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "cdn/s3/client.h"

namespace stellarium::cdn::s3 {

/// One object on its way up in parts. Nothing of it is seen until the last request; whoever does not get there calls
/// `abort`, or the parts stay and cost space.
class MultipartUpload {
 public:
  /// `create_only`: the last step has the condition that nothing is there.
  MultipartUpload(Client& client, std::string key, bool create_only);

  enum class Outcome : std::uint8_t { written, something_is_there };
  /// Errors: those of ObjectTarget::write; then nothing was written, unless the code is unavailable: then nobody knows.
  Result<Outcome> send(ByteSpan bytes);

  /// Success if there is nothing to abort.
  Result<void> abort();

  /// The steps of `send`.
  Result<void> begin();
  Result<void> send_part(ByteSpan part);
  Result<Outcome> finish();

 private:
  Result<bool> is_ours();

  Client& client_;
  const std::string key_;
  const bool create_only_;
  const std::string mark_;  // tells the object of this upload from any other
  std::string id_;
  std::vector<std::string> tags_;  // of the parts
};

/// 32 hexadecimal digits that nobody else has.
std::string random_name();

}  // namespace stellarium::cdn::s3
