#pragma once
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/bytes.h"
#include "base/unique_fd.h"

namespace stellarium::test {

/// What came over a socket: whether all of the bytes did, and the descriptor beside them.
struct ReceivedMessage {
  bool whole = false;
  UniqueFd beside;
};

/// Waits for as many bytes as there is room for.
inline ReceivedMessage receive_message(int socket, MutableByteSpan bytes) {
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ReceivedMessage received;
  received.whole = ::recvmsg(socket, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC) == static_cast<ssize_t>(bytes.size());
  if (const cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr && head->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
    received.beside.reset(fd);
  }
  return received;
}

}  // namespace stellarium::test
