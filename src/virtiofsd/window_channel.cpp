#include "virtiofsd/window_channel.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <utility>

#include "virtiofsd/send_message.h"

namespace stellarium::virtiofsd {

void WindowChannel::set_channel(UniqueFd socket) {
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  if (socket) {
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  const MutexLock lock{mutex_};
  socket_ = std::move(socket);
  ++life_;
}

Result<void> WindowChannel::map(std::uint64_t place, int fd, std::uint64_t offset, std::uint64_t length) {
  return ask(protocol::BackendRequest::shmem_map, {protocol::kWindowRegion, {}, offset, place, length, 0}, fd);
}

Result<void> WindowChannel::unmap(std::uint64_t place, std::uint64_t length) {
  return ask(protocol::BackendRequest::shmem_unmap, {protocol::kWindowRegion, {}, 0, place, length, 0}, -1);
}

Result<void> WindowChannel::ask(protocol::BackendRequest request, const protocol::SharedMemoryMap& what, int fd) {
  struct {
    protocol::Header header;
    protocol::SharedMemoryMap what;
  } __attribute__((packed))
  message{{static_cast<std::uint32_t>(request), protocol::header::kVersion | protocol::header::kNeedReply, sizeof what},
          what};
  struct {
    protocol::Header header;
    std::uint64_t code;
  } __attribute__((packed)) answer{};

  const MutexLock lock{mutex_};
  if (!socket_) return fail(Errc::unavailable, "the virtual machine monitor gave no channel for its DAX window");
  const ByteSpan bytes = std::as_bytes(std::span{&message, 1});
  const bool asked = send_message(socket_.get(), bytes, fd) == static_cast<ssize_t>(bytes.size());
  const bool answered = asked && ::recv(socket_.get(), &answer, sizeof answer, MSG_WAITALL) == sizeof answer;
  if (!answered || answer.header.request != message.header.request || answer.header.size != sizeof answer.code ||
      (answer.header.flags & protocol::header::kReply) == 0) {
    socket_.reset();  // what comes next would be taken for the answer to another request
    return fail(Errc::unavailable, "the virtual machine monitor does not answer about its DAX window");
  }
  if (answer.code != 0) return fail(Errc::io, "the virtual machine monitor refuses a mapping in its DAX window");
  return {};
}

}  // namespace stellarium::virtiofsd
