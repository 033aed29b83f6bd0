// A virtual machine's monitor that says anything in any order, with descriptors of every kind.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "support/quiet_filesystem.h"
#include "virtiofsd/device.h"

using namespace stellarium;
using namespace stellarium::virtiofsd;

namespace {

/// What a message may bring along: memory, kicks, and what is neither.
const std::vector<int>& descriptors() {
  static const std::vector<int> all = [] {
    const int memory = ::memfd_create("guest", MFD_CLOEXEC);
    if (::ftruncate(memory, 1 << 20) != 0) std::abort();
    return std::vector<int>{memory, ::eventfd(0, EFD_CLOEXEC), ::open("/dev/null", O_RDWR | O_CLOEXEC),
                            ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  }();
  return all;
}

void send(int socket, ByteSpan bytes, std::size_t count, unsigned kinds) {
  std::array<int, 12> sent{};
  for (std::size_t i = 0; i < count; ++i) sent[i] = descriptors()[kinds >> (i % 4 * 2) & 3];
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof sent)> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count != 0) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * count);
    std::memcpy(CMSG_DATA(head), sent.data(), sizeof(int) * count);
  }
  (void)!::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

/// Messages one after the other: request, flags, how many descriptors, their kinds, the payload's length, the payload.
/// Without workers no queue is served, so the same input does the same each time.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto workers = std::move(*EventWorkers::start(0));
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
  const UniqueFd machine{ends[0]};
  const auto device = Device::create(
      UniqueFd{ends[1]},
      std::make_shared<fs::fuse::Session>(std::make_unique<test::QuietFilesystem>(), fs::fuse::Peer::guest),
      {.tag = "root", .request_queues = 2, .dax_window = 2u << 20}, workers,
      std::make_shared<WindowChannel>(2u << 20, workers));
  ByteSpan rest = std::as_bytes(std::span{data, size});
  while (rest.size() >= 5) {
    const auto at = [&rest](std::size_t i) { return static_cast<std::uint32_t>(rest[i]); };
    const protocol::Header header{at(0), at(1), at(4)};
    const std::size_t count = at(2) % 13;
    const unsigned kinds = at(3);
    rest = rest.subspan(5);
    const ByteSpan payload = rest.first(std::min<std::size_t>(header.size, rest.size()));
    rest = rest.subspan(payload.size());
    std::vector<std::byte> message(sizeof header + payload.size());
    std::memcpy(message.data(), &header, sizeof header);
    std::copy(payload.begin(), payload.end(), message.begin() + sizeof header);
    send(machine.get(), message, count, kinds);
    if (!device->serve_frontend()) break;
    std::array<std::byte, 8192> answers;
    while (::recv(machine.get(), answers.data(), answers.size(), MSG_DONTWAIT) > 0) {
    }
  }
  device->end();
  return 0;
}
