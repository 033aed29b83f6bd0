// A hostile virtual machine without a machine: names files that it was never shown.
//
//   foreign_guest SOCKET list            prints "NODE NAME" for each entry of the root
//   foreign_guest SOCKET reach NODE…     tries to read, change, move and link each of these nodes in all ways; prints
//                                        "reached NODE HOW" for each that was not refused, and "tried N" at the end
//
// Exit code 1 and a line on stderr if the device cannot be talked to.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "fs/fuse/abi.h"
#include "support/fuse_messages.h"
#include "support/guest_frontend.h"

using namespace stellarium;
namespace abi = fs::fuse::abi;
namespace protocol = virtiofsd::protocol;

namespace {

constexpr std::uint64_t kOwnRoot = 1;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "foreign_guest: %s\n", why.c_str());
  std::exit(1);
}

UniqueFd connected_to(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("cannot connect");
  return socket;
}

class ForeignGuest {
 public:
  explicit ForeignGuest(const char* socket) : machine_{connected_to(socket)} {
    const std::uint64_t protocol_features = protocol::protocol_feature::kOffered;
    machine_.send(16, std::as_bytes(std::span{&protocol_features, 1}));  // so that what follows is acknowledged
    tell(protocol::Request::set_features, protocol::feature::kOffered);
    tell(protocol::Request::add_mem_reg, protocol::OneMemoryRegion{0, ram_.region()}, {ram_.file()});
    tell(protocol::Request::set_vring_num, protocol::VringState{1, ring_.size});
    tell(protocol::Request::set_vring_addr,
         protocol::VringAddresses{1, 0, ram_.user_address(ring_.descriptors), ram_.user_address(ring_.used),
                                  ram_.user_address(ring_.available), 0});
    tell(protocol::Request::set_vring_call, std::uint64_t{1}, {call_.get()});
    tell(protocol::Request::set_vring_kick, std::uint64_t{1}, {kick_.get()});
    tell(protocol::Request::set_vring_enable, protocol::VringState{1, 1});
    abi::InitIn in{};
    in.major = abi::kMajor;
    in.minor = abi::kMinor;
    in.flags = in.flags2 = ~0u;
    if (ask(abi::Opcode::init, 0, test::bytes_of(in)).error != 0) fail("INIT was refused");
  }

  /// Its error is positive.
  test::Answer ask(abi::Opcode opcode, std::uint64_t node, const std::string& arguments) {
    const std::string message = test::make_request(opcode, node, unique_ += 2, arguments);
    message.copy(reinterpret_cast<char*>(ram_.at(in_)), message.size());
    ring_.set(0, {ram_.guest_address(in_), static_cast<std::uint32_t>(message.size()), test::GuestRing::kNext, 1});
    ring_.set(1, {ram_.guest_address(out_), kRoom, test::GuestRing::kWrite, 0});
    const std::uint16_t before = ring_.used_index();
    ring_.want_call_at(before);
    ring_.offer(0);
    const std::uint64_t one = 1;
    (void)!::write(kick_.get(), &one, sizeof one);
    for (pollfd waiting{call_.get(), POLLIN, 0}; ring_.used_index() == before;) {
      if (::poll(&waiting, 1, 60'000) != 1) fail("no answer within a minute");
      std::uint64_t calls = 0;
      (void)!::read(call_.get(), &calls, sizeof calls);
    }
    const std::string answer{reinterpret_cast<const char*>(ram_.at(out_)), ring_.used_at(before).length};
    abi::OutHeader header{};
    if (answer.size() < sizeof header) fail("a request was given back unanswered");
    std::memcpy(&header, answer.data(), sizeof header);
    return {header.unique, -header.error, answer.substr(sizeof header)};
  }

 private:
  static constexpr std::uint32_t kRoom = 64 << 10;

  template <typename T>
  void tell(protocol::Request request, const T& payload, const std::vector<int>& descriptors = {}) {
    if (machine_.tell(request, payload, descriptors) != 0u)
      fail("refused: message " + std::to_string(static_cast<int>(request)));
  }

  test::GuestFrontend machine_;
  test::GuestRam ram_;
  test::GuestRing ring_{ram_, 16};
  const std::size_t in_ = ram_.allocate(8192), out_ = ram_.allocate(kRoom);
  const UniqueFd kick_{::eventfd(0, EFD_CLOEXEC)}, call_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::uint64_t unique_ = 2;
};

std::string reading(std::uint32_t size) {
  abi::ReadIn in{};
  in.size = size;
  return test::bytes_of(in);
}

void list(ForeignGuest& guest) {
  const std::string listing = guest.ask(abi::Opcode::readdirplus, kOwnRoot, reading(60 << 10)).payload;
  for (std::size_t at = 0; at < listing.size();) {
    abi::EntryOut entry;
    abi::Dirent dirent;
    std::memcpy(&entry, listing.data() + at, sizeof entry);
    std::memcpy(&dirent, listing.data() + at + sizeof entry, sizeof dirent);
    std::printf("%llu %s\n", static_cast<unsigned long long>(entry.nodeid),
                listing.substr(at + sizeof entry + sizeof dirent, dirent.name_size).c_str());
    at = (at + sizeof entry + sizeof dirent + dirent.name_size + 7) / 8 * 8;
  }
}

struct Attempt {
  const char* how;
  abi::Opcode opcode;
  std::uint64_t node;
  std::string arguments;
};

/// Where a request names a second node, the other one is the guest's own.
std::vector<Attempt> attempts(std::uint64_t node) {
  using enum abi::Opcode;
  const std::string name = test::make_name("reached-" + std::to_string(node));
  abi::SetattrIn empty{};
  empty.valid = abi::setattr::kSize;
  abi::WriteIn four{};
  four.size = 4;
  abi::CreateIn made{};
  made.mode = S_IFREG | 0600;
  made.flags = O_RDWR | O_CREAT;
  abi::CopyFileRangeIn in{}, out{};
  in.node_out = kOwnRoot;
  out.node_out = node;
  in.length = out.length = 1 << 20;
  return {{"GETATTR", getattr, node, test::bytes_of(abi::GetattrIn{})},
          {"OPEN", open, node, test::bytes_of(abi::OpenIn{O_RDONLY, 0})},
          {"OPEN to write", open, node, test::bytes_of(abi::OpenIn{O_RDWR | O_TRUNC, 0})},
          {"READ", read, node, reading(4096)},
          {"WRITE", write, node, test::bytes_of(four) + "evil"},
          {"SETATTR", setattr, node, test::bytes_of(empty)},
          {"LISTXATTR", listxattr, node, test::bytes_of(abi::GetxattrIn{4096, 0})},
          {"READLINK", readlink, node, ""},
          {"LOOKUP", lookup, node, test::make_name("secret")},
          {"OPENDIR", opendir, node, test::bytes_of(abi::OpenIn{O_RDONLY, 0})},
          {"READDIRPLUS", readdirplus, node, reading(4096)},
          {"UNLINK", unlink, node, test::make_name("secret")},
          {"CREATE", create, node, test::bytes_of(made) + name},
          {"LINK", link, kOwnRoot, test::bytes_of(abi::LinkIn{node}) + name},
          {"LINK into", link, node, test::bytes_of(abi::LinkIn{kOwnRoot}) + name},
          {"RENAME from", rename, node, test::bytes_of(abi::RenameIn{kOwnRoot}) + test::make_name("secret") + name},
          {"RENAME to", rename, kOwnRoot, test::bytes_of(abi::RenameIn{node}) + test::make_name("own") + name},
          {"COPY_FILE_RANGE from", copy_file_range, node, test::bytes_of(in)},
          {"COPY_FILE_RANGE to", copy_file_range, kOwnRoot, test::bytes_of(out)}};
}

void reach(ForeignGuest& guest, std::uint64_t node) {
  int tried = 0;
  for (const Attempt& attempt : attempts(node)) {
    ++tried;
    if (guest.ask(attempt.opcode, attempt.node, attempt.arguments).error != 0) continue;
    std::printf("reached %llu %s\n", static_cast<unsigned long long>(node), attempt.how);
  }
  std::printf("tried %d\n", tried);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc >= 3 ? argv[2] : "";
  if (what != "list" && what != "reach") fail("usage: foreign_guest SOCKET list|reach [NODE…]");
  ForeignGuest guest{argv[1]};
  if (what == "list") list(guest);
  for (int i = 3; i < argc; ++i) reach(guest, std::strtoull(argv[i], nullptr, 10));
  return 0;
}
