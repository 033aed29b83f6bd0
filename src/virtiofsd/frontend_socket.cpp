#include "virtiofsd/frontend_socket.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "virtiofsd/send_message.h"

namespace stellarium::virtiofsd {

FrontendSocket::FrontendSocket(UniqueFd socket) : socket_{std::move(socket)} {
  const timeval patience{.tv_sec = 5, .tv_usec = 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

FrontendSocket::Received FrontendSocket::end(std::string why) {
  why_ = std::move(why);
  return Received::gone;
}

/// What recvmsg(2) says; descriptors that come along are kept, those beyond the limit closed.
ssize_t FrontendSocket::read_some(MutableByteSpan into) {
  iovec part{into.data(), into.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * 64)> control;
  msghdr received{};
  received.msg_iov = &part;
  received.msg_iovlen = 1;
  received.msg_control = control.data();
  received.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(socket_.get(), &received, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0) return size;
  for (cmsghdr* each = CMSG_FIRSTHDR(&received); each != nullptr; each = CMSG_NXTHDR(&received, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(each) + i * sizeof fd, sizeof fd);
      partial_.descriptors.emplace_back(fd);
    }
  }
  return size;
}

FrontendSocket::Received FrontendSocket::receive(FrontendMessage& message) {
  while (true) {
    const bool in_head = head_size_ < head_.size();
    if (!in_head && payload_size_ == partial_.payload.size()) break;
    const ssize_t size = read_some(in_head ? MutableByteSpan{head_}.subspan(head_size_)
                                           : MutableByteSpan{partial_.payload}.subspan(payload_size_));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Received::nothing;
    if (size < 0) return end("reading from it: " + std::string{std::strerror(errno)});
    if (size == 0) return end(head_size_ == 0 ? "it has ended" : "it ended within a message");
    if (partial_.descriptors.size() > kMaxDescriptors) return end("a message with more than 8 descriptors");
    (in_head ? head_size_ : payload_size_) += static_cast<std::size_t>(size);
    if (!in_head || head_size_ < head_.size()) continue;
    std::memcpy(&partial_.header, head_.data(), sizeof partial_.header);
    if ((partial_.header.flags & protocol::header::kVersionMask) != protocol::header::kVersion)
      return end("a message of another version of the protocol");
    if (partial_.header.size > kMaxPayload)
      return end("a message of " + std::to_string(partial_.header.size) + " bytes");
    partial_.payload.resize(partial_.header.size);
  }
  message = std::exchange(partial_, {});
  head_size_ = payload_size_ = 0;
  return Received::message;
}

Result<void> FrontendSocket::reply(const FrontendMessage& to, ByteSpan payload, int descriptor) {
  protocol::Header header{to.header.request, protocol::header::kVersion | protocol::header::kReply,
                          static_cast<std::uint32_t>(payload.size())};
  std::array<std::byte, sizeof header + kMaxPayload> whole;
  std::memcpy(whole.data(), &header, sizeof header);
  std::copy(payload.begin(), payload.end(), whole.begin() + sizeof header);
  ByteSpan rest{whole.data(), sizeof header + payload.size()};
  while (!rest.empty()) {
    const ssize_t sent = send_message(socket_.get(), rest, descriptor);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return fail_errno("answering a virtual machine monitor");
    rest = rest.subspan(static_cast<std::size_t>(sent));
    descriptor = -1;  // it went with the first byte
  }
  return {};
}

}  // namespace stellarium::virtiofsd
