#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "virtiofsd/protocol.h"

namespace stellarium::virtiofsd {

/// One message of the front-end, of which nothing was checked but its frame.
struct FrontendMessage {
  protocol::Header header{};
  std::vector<std::byte> payload;
  std::vector<UniqueFd> descriptors;

  bool needs_reply() const { return (header.flags & protocol::header::kNeedReply) != 0; }
};

/// The socket over which a virtual machine monitor sets a device up.
///
/// Receiving never waits: a front-end that stops within a message holds nobody up. Sending waits, but a few seconds
/// at most.
/// Threads: one at a time.
class FrontendSocket {
 public:
  static constexpr std::size_t kMaxPayload = 4096;
  static constexpr std::size_t kMaxDescriptors = 8;

  explicit FrontendSocket(UniqueFd socket);
  int descriptor() const { return socket_.get(); }

  enum class Received { message, nothing, gone };
  /// `message` is filled when there is a whole one. `gone`: the front-end has ended, or what it sends is no message;
  /// `why` says which.
  Received receive(FrontendMessage& message);
  const std::string& why() const { return why_; }

  /// Answers a message with a payload, and with a descriptor if it is not -1. Errors: io.
  [[nodiscard]] Result<void> reply(const FrontendMessage& to, ByteSpan payload, int descriptor = -1);

 private:
  Received end(std::string why);
  ssize_t read_some(MutableByteSpan into);

  UniqueFd socket_;
  FrontendMessage partial_;
  std::array<std::byte, sizeof(protocol::Header)> head_{};
  std::size_t head_size_ = 0, payload_size_ = 0;
  std::string why_;
};

}  // namespace stellarium::virtiofsd
