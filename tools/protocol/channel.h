#pragma once
#include <sys/socket.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace stellarium::protocol {

inline constexpr std::size_t kMaxPayload = 64u << 10;  ///< bytes in one frame
inline constexpr std::size_t kMaxDescriptors = 4;      ///< beside one frame

/// One message: its type, its bytes, and the descriptors that travel with it.
struct Frame {
  std::uint16_t type = 0;
  std::string payload;
  std::vector<UniqueFd> descriptors;
};

/// Sends and receives frames over a Unix SOCK_SEQPACKET socket (docs/formats/protocol.md), which keeps message
/// boundaries, so that descriptors cannot drift from the frame they belong to and a peer cannot announce a length it
/// does not send.
///
/// Threads: `send` and `receive` may run at the same time; each of them from one thread at a time, except that `send`
/// is atomic per frame. Errors:  unavailable (the peer is gone), invalid_argument (a malformed frame: the connection is
/// of no further use), io.
class Channel {
 public:
  Channel() = default;
  explicit Channel(UniqueFd socket) : socket_{std::move(socket)} {}

  /// Blocks while the peer does not read.
  [[nodiscard]] Result<void> send(std::uint16_t type, std::string_view payload,
                                  std::span<const int> descriptors = {}) const;
  /// Waits for the next frame.
  [[nodiscard]] Result<Frame> receive() const;
  /// Whether a frame (or the end of the connection) can be received now, waiting at most `milliseconds`; negative: for
  /// ever.
  [[nodiscard]] Result<bool> readable(int milliseconds) const;

  int fd() const { return socket_.get(); }
  explicit operator bool() const { return static_cast<bool>(socket_); }
  /// Wakes whoever is blocked in send or receive, here and at the peer.
  void shut_down() const;
  void close() { socket_.reset(); }
  [[nodiscard]] UniqueFd release() { return std::move(socket_); }

 private:
  [[nodiscard]] Result<std::size_t> receive_into(msghdr& message, int flags) const;

  UniqueFd socket_;
};

/// Two connected sockets.
Result<std::pair<UniqueFd, UniqueFd>> make_socket_pair();

}  // namespace stellarium::protocol
