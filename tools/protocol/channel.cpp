#include "tools/protocol/channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace stellarium::protocol {
namespace {

constexpr std::size_t kHeader = 8;  // type u16, zero u16, payload bytes u32

bool is_hang_up(int error) {
  return error == EPIPE || error == ECONNRESET || error == ENOTCONN;
}

/// Owns every descriptor that came with a message, whether or not the message is any good.
std::vector<UniqueFd> take_descriptors(msghdr& message) {
  std::vector<UniqueFd> taken;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      taken.emplace_back(fd);
    }
  }
  return taken;
}

}  // namespace

Result<void> Channel::send(std::uint16_t type, std::string_view payload, std::span<const int> descriptors) const {
  if (payload.size() > kMaxPayload)
    return fail(Errc::invalid_argument, "a message of " + std::to_string(payload.size()) + " bytes");
  if (descriptors.size() > kMaxDescriptors) return fail(Errc::invalid_argument, "too many descriptors in one message");

  std::array<char, kHeader> header{};
  store_le(header.data(), type);
  store_le(header.data() + 4, static_cast<std::uint32_t>(payload.size()));
  std::array<iovec, 2> parts{{{header.data(), header.size()}, {const_cast<char*>(payload.data()), payload.size()}}};

  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))> control{};
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  while (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) continue;
    if (is_hang_up(errno)) return fail(Errc::unavailable, "the other side hung up");
    return fail_errno("sending a message");
  }
  return {};
}

Result<Frame> Channel::receive() const {
  // Most are small: room for the largest would be more work than the rest.
  msghdr nothing{};
  const Result<std::size_t> size = receive_into(nothing, MSG_PEEK | MSG_TRUNC);
  if (!size) return fail(size.error());
  std::array<char, kHeader> header{};
  Frame frame;
  frame.payload.resize(std::min(*size, kMaxPayload));
  std::array<iovec, 2> parts{{{header.data(), header.size()}, {frame.payload.data(), frame.payload.size()}}};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))> control{};

  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const Result<std::size_t> got = receive_into(message, MSG_CMSG_CLOEXEC);
  if (!got) return fail(got.error());
  frame.descriptors = take_descriptors(message);
  if (*got == 0) return fail(Errc::unavailable, "the other side hung up");
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
    return fail(Errc::invalid_argument, "a message over the size limit");
  const std::size_t received = *got;
  if (received < kHeader) return fail(Errc::invalid_argument, "a message shorter than its header");
  frame.type = load_le<std::uint16_t>(header.data());
  if (load_le<std::uint16_t>(header.data() + 2) != 0 ||
      load_le<std::uint32_t>(header.data() + 4) != received - kHeader) {
    return fail(Errc::invalid_argument, "a message whose header does not fit its size");
  }
  frame.payload.resize(received - kHeader);
  return frame;
}

Result<std::size_t> Channel::receive_into(msghdr& message, int flags) const {
  ssize_t got = 0;
  while ((got = ::recvmsg(socket_.get(), &message, flags)) < 0) {
    if (errno == EINTR) continue;
    if (is_hang_up(errno)) return fail(Errc::unavailable, "the other side hung up");
    return fail_errno("receiving a message");
  }
  return static_cast<std::size_t>(got);
}

Result<bool> Channel::readable(int milliseconds) const {
  pollfd waiting{socket_.get(), POLLIN, 0};
  const int ready = ::poll(&waiting, 1, milliseconds);
  if (ready < 0 && errno == EINTR) return false;
  if (ready < 0) return fail_errno("waiting for a message");
  return ready > 0;
}

void Channel::shut_down() const {
  ::shutdown(socket_.get(), SHUT_RDWR);
}

Result<std::pair<UniqueFd, UniqueFd>> make_socket_pair() {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return fail_errno("socketpair");
  return std::pair{UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

}  // namespace stellarium::protocol
