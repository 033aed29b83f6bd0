#include "fs/fuse/dev_fuse.h"

#include "base/log.h"
#include "fs/as_nobody.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace stellarium::fs::fuse {
namespace {

/// Answers up to this size are sent from one buffer: every part of a message costs the kernel a look-up of its page.
constexpr std::size_t kShortAnswer = 256;

ssize_t write_whole(int device, const abi::OutHeader& header, ByteSpan payload) {
  std::array<std::byte, sizeof header + kShortAnswer> message;  // on the stack, which is resident
  std::memcpy(message.data(), &header, sizeof header);
  std::ranges::copy(payload, message.begin() + sizeof header);
  return ::write(device, message.data(), header.len);
}

ssize_t write_in_parts(int device, abi::OutHeader header, ByteSpan payload) {
  const std::array<iovec, 2> parts{
      {{&header, sizeof header}, {const_cast<std::byte*>(payload.data()), payload.size()}}};
  return ::writev(device, parts.data(), parts.size());
}

}  // namespace

DevFuseConnection::DevFuseConnection(UniqueFd device) : device_{std::move(device)} {
  const int flags = ::fcntl(device_.get(), F_GETFL);
  ::fcntl(device_.get(), F_SETFL, flags | O_NONBLOCK);
}

int DevFuseConnection::send(std::uint64_t unique, int error, ByteSpan payload) {
  if (error != 0) errors_.fetch_add(1, std::memory_order_relaxed);
  const abi::OutHeader header{static_cast<std::uint32_t>(sizeof header + payload.size()), -error, unique};
  while ((payload.size() <= kShortAnswer ? write_whole(device_.get(), header, payload)
                                         : write_in_parts(device_.get(), header, payload)) < 0) {
    if (errno == EINTR) continue;
    const int failed = errno;
    // ENOENT: the program was killed while it waited. ENODEV: unmounted. Both are everyday events.
    if (failed != ENOENT && failed != ENODEV) {
      log::error("answering request {:#x} with {} bytes: {}", unique, payload.size(),
                 to_string(Error{Errc::io, "writev", failed}));
    }
    return failed;
  }
  return 0;
}

void DevFuseConnection::store(NodeId node, ByteSpan content) {
  struct {
    abi::OutHeader header;
    abi::Store store;
  } notification{{static_cast<std::uint32_t>(sizeof notification + content.size()), abi::kNotifyStore, 0},
                 {node.value(), 0, static_cast<std::uint32_t>(content.size()), 0}};
  const std::array<iovec, 2> parts{
      {{&notification, sizeof notification}, {const_cast<std::byte*>(content.data()), content.size()}}};
  (void)!::writev(device_.get(), parts.data(), parts.size());
}

Result<void> DevFuseConnection::ask_to_resend() {
  const abi::OutHeader notification{sizeof notification, abi::kNotifyResend, 0};
  while (::write(device_.get(), &notification, sizeof notification) < 0) {
    if (errno != EINTR) return fail_errno("asking the kernel to resend requests");
  }
  return {};
}

Result<std::uint32_t> DevFuseConnection::open(int fd) {
  // That of a hot file lies in the tier's private read-only mount, and the kernel opens files anew with the program's
  // flags on that mount: opening for writing fails there, whatever a wrong reply says.
  abi::BackingMap map{fd, 0, 0};
  const int id = ::ioctl(device_.get(), abi::kIocBackingOpen, &map);
  if (id < 0) {
    return fail_errno(errno == ELOOP ? "making a backing id (the hot folder lies on a stacked file system)"
                                     : "making a backing id");
  }
  return static_cast<std::uint32_t>(id);
}

Result<std::uint32_t> DevFuseConnection::open_for_writing(int fd) {
  const AsNobody as_nobody;  // the kernel writes with the credentials of whoever made the id
  return open(fd);
}

void DevFuseConnection::close(std::uint32_t id) {
  ::ioctl(device_.get(), abi::kIocBackingClose, &id);
}

DevFuseConnection::Received DevFuseConnection::receive(MutableByteSpan buffer, ByteSpan& request) {
  while (true) {
    const ssize_t size = ::read(device_.get(), buffer.data(), buffer.size());
    if (size >= 0) {
      request = buffer.first(static_cast<std::size_t>(size));
      return Received::request;
    }
    switch (errno) {
      case EINTR:
      case ENOENT:
        continue;  // the request was withdrawn while it was read
      case EAGAIN:
        return Received::nothing;
      case ENODEV:
      case ECONNABORTED:
        return Received::gone;
      default:
        log::error("reading requests: {}", to_string(Error{Errc::io, "read", errno}));
        return Received::gone;
    }
  }
}

}  // namespace stellarium::fs::fuse
