#pragma once
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "fs/fuse/abi.h"
#include "support/fuse_messages.h"
#include "support/guest_frontend.h"
#include "support/guest_window.h"

namespace stellarium::test {

[[noreturn]] inline void give_up(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

/// A virtual machine with a DAX window, without a machine: sets a virtio-fs device up over its socket, and asks it one
/// request after the other. What it does not understand ends the program, with a line.
///
/// When the device goes away, it connects to the next one, which answers what was asked of the last: a guest notices
/// nothing.
class DaxMachine {
 public:
  static constexpr std::uint64_t kRange = 2u << 20;  ///< what a kernel maps at a time

  /// `window`: bytes; 0: it has none.
  DaxMachine(const char* socket, std::size_t window, bool whole_pages_only = false) : path_{socket} {
    if (window != 0) window_.emplace(window, whole_pages_only);
  }

  void boot() {
    namespace abi = fs::fuse::abi;
    machine_.emplace(connected());
    set_up();
    abi::InitIn in{};
    in.major = abi::kMajor;
    in.minor = abi::kMinor;
    in.flags = in.flags2 = ~0u;
    const auto out = as<abi::InitOut>(ask(abi::Opcode::init, 0, bytes_of(in), sizeof(abi::InitOut)));
    if (window_ && ((out.flags & abi::feature::kMapAlignment) == 0 || out.map_alignment != 12))
      give_up("nothing can be mapped");
  }
  int reconnected() const { return reconnected_; }

  struct Answered {
    int error = 0;  ///< positive errno
    std::string payload;
  };
  Answered try_to(fs::fuse::abi::Opcode opcode, std::uint64_t node, const std::string& arguments, std::uint32_t room) {
    const std::string message = make_request(opcode, node, unique_ += 2, arguments);
    message.copy(reinterpret_cast<char*>(ram_.at(in_)), message.size());
    const auto length = static_cast<std::uint32_t>(message.size());
    ring_.set(0, {ram_.guest_address(in_), length, GuestRing::kNext, 1});
    ring_.set(1, {ram_.guest_address(out_), static_cast<std::uint32_t>(sizeof(fs::fuse::abi::OutHeader)) + room,
                  GuestRing::kWrite, 0});
    const std::uint16_t before = ring_.used_index();
    ring_.want_call_at(before);
    ring_.offer(0);
    const std::uint64_t one = 1;
    (void)!::write(kick_.get(), &one, sizeof one);
    while (ring_.used_index() == before) {
      pollfd waiting[] = {{call_.get(), POLLIN, 0}, {machine_->socket(), POLLRDHUP, 0}};
      if (::poll(waiting, 2, 60'000) < 1) give_up("no answer within a minute");
      std::uint64_t calls = 0;
      if (waiting[0].revents != 0) (void)!::read(call_.get(), &calls, sizeof calls);
      if (waiting[1].revents != 0) reconnect();
    }
    const std::string answer{reinterpret_cast<const char*>(ram_.at(out_)), ring_.used_at(before).length};
    const auto header = as<fs::fuse::abi::OutHeader>(answer);
    if (room == 0 && answer.empty()) return {};  // FORGET
    if (answer.size() < sizeof header) give_up("an answer without a header");
    return {-header.error, answer.substr(sizeof header)};
  }
  /// The payload of the answer, which must be no error.
  std::string ask(fs::fuse::abi::Opcode opcode, std::uint64_t node, const std::string& arguments, std::uint32_t room) {
    Answered answered = try_to(opcode, node, arguments, room);
    if (answered.error != 0)
      give_up("opcode " + std::to_string(static_cast<int>(opcode)) + " of node " + std::to_string(node) + ": error " +
              std::to_string(answered.error));
    return std::move(answered.payload);
  }
  /// SETUPMAPPING of a range, to be read, as the kernel sends it.
  int map(std::uint64_t node, std::uint64_t offset, std::uint64_t place) {
    namespace abi = fs::fuse::abi;
    return try_to(abi::Opcode::setupmapping, node, bytes_of(abi::SetupMappingIn{~0ull, offset, kRange, 2, place}), 0)
        .error;
  }
  int unmap(std::uint64_t node, std::uint64_t place) {
    namespace abi = fs::fuse::abi;
    const abi::RemoveMappingOne one{place, kRange};
    return try_to(abi::Opcode::removemapping, node, bytes_of(abi::RemoveMappingIn{1}) + bytes_of(one), 0).error;
  }
  GuestWindow& window() { return *window_; }

  template <typename T>
  static T as(const std::string& bytes) {
    T value{};
    std::memcpy(&value, bytes.data(), std::min(sizeof value, bytes.size()));
    return value;
  }

 private:
  UniqueFd connected() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      give_up(std::string{"cannot connect to "} + path_ + ": " + std::strerror(errno));
    return socket;
  }
  /// A device went away before it was set up.
  struct Gone {};
  /// The socket stays while there is no server; whoever is next accepts.
  void reconnect() {
    for (bool again = true; again;) {
      ++reconnected_;
      machine_.emplace(connected());
      if (window_) window_->new_channel();
      try {
        set_up();
        again = false;
      } catch (const Gone&) {
      }
    }
  }
  void set_up() {
    using virtiofsd::protocol::Request;
    namespace feature = virtiofsd::protocol::protocol_feature;
    const std::uint64_t of_window = window_ ? feature::kOfWindow | 1ull << feature::kSharedMemoryBit : 0;
    const std::uint64_t protocol_features = feature::kOffered | of_window;
    machine_->send(16, std::as_bytes(std::span{&protocol_features, 1}));
    tell(Request::set_features, virtiofsd::protocol::feature::kOffered);
    if (window_) set_up_window();
    tell(Request::add_mem_reg, virtiofsd::protocol::OneMemoryRegion{0, ram_.region()}, {ram_.file()});
    set_up_tracking();
    tell(Request::set_vring_num, virtiofsd::protocol::VringState{1, ring_.size});
    tell(Request::set_vring_base, virtiofsd::protocol::VringState{1, ring_.used_index()});
    tell(Request::set_vring_addr,
         virtiofsd::protocol::VringAddresses{1, 0, ram_.user_address(ring_.descriptors), ram_.user_address(ring_.used),
                                             ram_.user_address(ring_.available), 0});
    tell(Request::set_vring_call, std::uint64_t{1}, {call_.get()});
    tell(Request::set_vring_kick, std::uint64_t{1}, {kick_.get()});
    tell(Request::set_vring_enable, virtiofsd::protocol::VringState{1, 1});
  }
  /// The memory in which devices note what they have in hand; this machine keeps it.
  void set_up_tracking() {
    using virtiofsd::protocol::Request;
    if (!tracking_) {
      const virtiofsd::protocol::Inflight wanted{0, 0, 2, ring_.size};
      const auto answer = machine_->ask(Request::get_inflight_fd, wanted, &tracking_);
      if (!answer) throw Gone{};
      if (answer->size() < sizeof wanted || !tracking_) give_up("nothing keeps track");
      tracked_ = as<virtiofsd::protocol::Inflight>(*answer);
    }
    tell(Request::set_inflight_fd, tracked_, {tracking_.get()});
  }
  void set_up_window() {
    using virtiofsd::protocol::Request;
    const auto config = machine_->ask(Request::get_shmem_config);
    virtiofsd::protocol::SharedMemoryConfig said{};
    if (!config) throw Gone{};
    if (config->size() != sizeof said) give_up("no window");
    std::memcpy(&said, config->data(), sizeof said);
    if (said.regions != 1 || said.sizes[0] != window_->size()) give_up("another window");
    tell(Request::set_backend_req_fd, std::uint64_t{0}, {window_->channel()});
  }
  template <typename T>
  void tell(virtiofsd::protocol::Request request, const T& payload, const std::vector<int>& descriptors = {}) {
    const auto code = machine_->tell(request, payload, descriptors);
    if (!code) throw Gone{};
    if (*code != 0) give_up("refused: message " + std::to_string(static_cast<int>(request)));
  }

  const std::string path_;
  std::optional<GuestFrontend> machine_;
  UniqueFd tracking_;
  virtiofsd::protocol::Inflight tracked_{};
  int reconnected_ = 0;
  std::optional<GuestWindow> window_;
  GuestRam ram_;
  GuestRing ring_{ram_, 16};
  const std::size_t in_ = ram_.allocate(128 << 10), out_ = ram_.allocate(128 << 10);
  const UniqueFd kick_{::eventfd(0, EFD_CLOEXEC)}, call_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::uint64_t unique_ = 2;
};

}  // namespace stellarium::test
