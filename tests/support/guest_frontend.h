#pragma once
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/unique_fd.h"
#include "support/received_message.h"
#include "virtiofsd/protocol.h"

namespace stellarium::test {

/// A virtual machine's memory without a machine: a memfd, with a place for everything that a guest keeps in it.
class GuestRam {
 public:
  static constexpr std::uint64_t kGuestAddress = 0x4000'0000;
  explicit GuestRam(std::size_t size = 4u << 20) : file_{::memfd_create("guest", MFD_CLOEXEC)}, size_{size} {
    if (::ftruncate(file_.get(), static_cast<off_t>(size)) != 0) throw std::runtime_error("no guest memory");
    void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    if (mapped == MAP_FAILED) throw std::runtime_error("no guest memory");
    bytes_ = static_cast<std::byte*>(mapped);
  }
  GuestRam(const GuestRam&) = delete;
  GuestRam& operator=(const GuestRam&) = delete;
  ~GuestRam() { ::munmap(bytes_, size_); }

  /// A free place, aligned to 4 KiB; returns its offset.
  std::size_t allocate(std::size_t size) { return std::exchange(used_, used_ + (size + 4095) / 4096 * 4096); }
  std::byte* at(std::size_t offset) const { return bytes_ + offset; }
  std::uint64_t guest_address(std::size_t offset) const { return kGuestAddress + offset; }
  std::uint64_t user_address(std::size_t offset) const { return reinterpret_cast<std::uint64_t>(bytes_) + offset; }
  int file() const { return file_.get(); }
  UniqueFd duplicate() const { return UniqueFd{::fcntl(file_.get(), F_DUPFD_CLOEXEC, 3)}; }
  virtiofsd::protocol::MemoryRegion region() const { return {kGuestAddress, size_, user_address(0), 0}; }

 private:
  UniqueFd file_;
  std::size_t size_, used_ = 0;
  std::byte* bytes_ = nullptr;
};

/// The driver's end of a split virtqueue in such memory.
class GuestRing {
 public:
  struct Descriptor {
    std::uint64_t address = 0;
    std::uint32_t length = 0;
    std::uint16_t flags = 0, next = 0;
  };
  static constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;

  GuestRing(GuestRam& ram, std::uint16_t queue_size)
      : ram_{ram},
        size{queue_size},
        descriptors{ram.allocate(std::size_t{queue_size} * 16)},
        available{ram.allocate(std::size_t{queue_size} * 2 + 6)},
        used{ram.allocate(std::size_t{queue_size} * 8 + 6)} {}

  void set(std::uint16_t index, const Descriptor& descriptor) const {
    std::memcpy(ram_.at(descriptors) + std::size_t{index} * 16, &descriptor, sizeof descriptor);
  }
  /// Makes the chain that begins with `head` available.
  void offer(std::uint16_t head) {
    std::memcpy(ram_.at(available) + 4 + static_cast<std::size_t>(next_ % size) * 2, &head, sizeof head);
    set_available_index(static_cast<std::uint16_t>(next_ + 1));
  }
  void set_available_index(std::uint16_t index) {
    next_ = index;
    word(available + 2).store(index, std::memory_order_release);
  }
  std::uint16_t used_index() const { return word(used + 2).load(std::memory_order_acquire); }
  struct Used {
    std::uint32_t id = 0, length = 0;
    bool operator==(const Used&) const = default;
  };
  Used used_at(std::uint16_t index) const {
    Used element;
    std::memcpy(&element, ram_.at(used) + 4 + static_cast<std::size_t>(index % size) * 8, sizeof element);
    return element;
  }
  /// With event indices: calls are wanted from the used element `index` on.
  void want_call_at(std::uint16_t index) { word(available + 4 + std::size_t{size} * 2).store(index); }
  void want_no_calls() { word(available).store(1); }
  std::uint16_t wanted_kick() const { return word(used + 4 + std::size_t{size} * 8).load(); }

 private:
  std::atomic_ref<std::uint16_t> word(std::size_t offset) const {
    return std::atomic_ref<std::uint16_t>{*reinterpret_cast<std::uint16_t*>(ram_.at(offset))};
  }
  GuestRam& ram_;
  std::uint16_t next_ = 0;

 public:
  const std::uint16_t size;
  const std::size_t descriptors, available, used;
};

/// A virtual machine monitor without a machine: sets a device up and sends requests over its queues.
class GuestFrontend {
 public:
  explicit GuestFrontend(UniqueFd socket) : socket_{std::move(socket)} {
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  int socket() const { return socket_.get(); }
  void disconnect() { socket_.reset(); }

  void send(std::uint32_t request, ByteSpan payload, const std::vector<int>& descriptors = {},
            std::uint32_t flags = 1) {
    const virtiofsd::protocol::Header header{request, flags, static_cast<std::uint32_t>(payload.size())};
    std::vector<std::byte> whole(sizeof header + payload.size());
    std::memcpy(whole.data(), &header, sizeof header);
    if (!payload.empty()) std::memcpy(whole.data() + sizeof header, payload.data(), payload.size());
    send_raw(whole, descriptors);
  }
  bool send_raw(ByteSpan bytes, const std::vector<int>& descriptors = {}) {
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    std::vector<std::byte> control(CMSG_SPACE(sizeof(int) * descriptors.size()));
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!descriptors.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
      std::memcpy(CMSG_DATA(head), descriptors.data(), sizeof(int) * descriptors.size());
    }
    return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  /// The payload of the next answer; nothing: the device has ended, or says nothing for 20 seconds. `beside`: takes the
  /// descriptor that comes with it.
  std::optional<std::string> receive(UniqueFd* beside = nullptr) {
    virtiofsd::protocol::Header header;
    ReceivedMessage received = receive_message(socket_.get(), std::as_writable_bytes(std::span{&header, 1}));
    if (!received.whole) return std::nullopt;
    if (beside != nullptr) *beside = std::move(received.beside);
    std::string payload(header.size, '\0');
    if (header.size != 0 &&
        ::recv(socket_.get(), payload.data(), payload.size(), MSG_WAITALL) != static_cast<ssize_t>(payload.size()))
      return std::nullopt;
    return payload;
  }
  template <typename T>
  std::optional<std::string> ask(virtiofsd::protocol::Request request, const T& payload, UniqueFd* beside = nullptr) {
    send(static_cast<std::uint32_t>(request), std::as_bytes(std::span{&payload, 1}));
    return receive(beside);
  }
  std::optional<std::string> ask(virtiofsd::protocol::Request request) {
    send(static_cast<std::uint32_t>(request), {});
    return receive();
  }
  /// Of a message that is only acknowledged: 0 is obeyed.
  template <typename T>
  std::optional<std::uint64_t> tell(virtiofsd::protocol::Request request, const T& payload,
                                    const std::vector<int>& descriptors = {}) {
    send(static_cast<std::uint32_t>(request), std::as_bytes(std::span{&payload, 1}), descriptors,
         1 | virtiofsd::protocol::header::kNeedReply);
    const auto answer = receive();
    std::uint64_t code = 0;
    if (!answer || answer->size() != sizeof code) return std::nullopt;
    std::memcpy(&code, answer->data(), sizeof code);
    return code;
  }

 private:
  UniqueFd socket_;
};

}  // namespace stellarium::test
