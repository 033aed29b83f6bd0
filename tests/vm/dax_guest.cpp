// A virtual machine without a machine: sets up a virtio-fs device over its socket, reads every file that has one by way
// of the DAX window, and says where its pages are.
//
//   dax_guest SOCKET TREE WINDOW_MIB      TREE: what the files must be equal to
//
// Prints "PATH BYTES PFN…" for each file with the page frames that the window shows, and "mapped N FROM TO" (mappings,
// and where the window lies), then waits for the end of its input with everything in place. Exit code 1 and a line on
// stderr if anything is not as it should be.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fs/fuse/abi.h"
#include "support/fuse_messages.h"
#include "support/guest_frontend.h"
#include "support/guest_window.h"

using namespace stellarium;
namespace abi = fs::fuse::abi;
namespace protocol = virtiofsd::protocol;

namespace {

constexpr std::uint64_t kRange = 2u << 20, kPage = 4096;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "dax_guest: %s\n", why.c_str());
  std::exit(1);
}

UniqueFd connected(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("cannot connect");
  return socket;
}

class Guest {
 public:
  Guest(const char* socket, std::size_t window) : machine_{connected(socket)}, window_{window} {}

  void boot() {
    const std::uint64_t protocol_features = protocol::protocol_feature::kOffered |
                                            protocol::protocol_feature::kOfWindow |
                                            1ull << protocol::protocol_feature::kSharedMemoryBit;
    machine_.send(16, std::as_bytes(std::span{&protocol_features, 1}));
    tell(protocol::Request::set_features, protocol::feature::kOffered);
    const auto config = machine_.ask(protocol::Request::get_shmem_config);
    protocol::SharedMemoryConfig said{};
    if (!config || config->size() != sizeof said) fail("no window");
    std::memcpy(&said, config->data(), sizeof said);
    if (said.regions != 1 || said.sizes[0] != window_.size()) fail("another window");
    tell(protocol::Request::set_backend_req_fd, std::uint64_t{0}, {window_.channel()});
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
    const auto out = as<abi::InitOut>(ask(abi::Opcode::init, 0, test::bytes_of(in), sizeof(abi::InitOut)));
    if ((out.flags & abi::feature::kMapAlignment) == 0 || out.map_alignment != 12) fail("nothing can be mapped");
  }

  struct File {
    std::string path;
    std::uint64_t node, size;
  };
  /// The files that are to be read by way of the window.
  void walk(std::uint64_t node, const std::string& path, std::vector<File>& found) {
    std::vector<std::pair<std::uint64_t, std::string>> folders;
    for (std::uint64_t offset = 0;;) {
      abi::ReadIn in{};
      in.offset = offset;
      in.size = 64 << 10;
      const std::string listing = ask(abi::Opcode::readdirplus, node, test::bytes_of(in), in.size);
      if (listing.empty()) break;
      for (std::size_t at = 0; at < listing.size();) {
        abi::EntryOut entry;
        abi::Dirent dirent;
        std::memcpy(&entry, listing.data() + at, sizeof entry);
        std::memcpy(&dirent, listing.data() + at + sizeof entry, sizeof dirent);
        const std::string name = listing.substr(at + sizeof entry + sizeof dirent, dirent.name_size);
        offset = dirent.offset;
        at = (at + sizeof entry + sizeof dirent + dirent.name_size + 7) / 8 * 8;
        if (name == "." || name == "..") continue;
        if (S_ISDIR(entry.attr.mode)) folders.emplace_back(entry.nodeid, path + "/" + name);
        if ((entry.attr.flags & abi::attr_flag::kDax) != 0)
          found.push_back({path + "/" + name, entry.nodeid, entry.attr.size});
      }
    }
    for (const auto& [child, below] : folders) walk(child, below, found);
  }

  /// Maps a file, at places that other files may have had, and compares what the window shows.
  void read(const File& file, const std::filesystem::path& tree) {
    std::ifstream stream{tree.string() + file.path, std::ios::binary};
    const std::string expected{std::istreambuf_iterator<char>{stream}, {}};
    if (expected.size() != file.size) fail(file.path + " has another size");
    std::string frames;
    for (std::uint64_t offset = 0; offset < file.size; offset += kRange) {
      const std::uint64_t place = std::exchange(next_, (next_ + kRange) % window_.size());
      if (taken_.size() > place / kRange && taken_[place / kRange]) {
        const abi::RemoveMappingOne one{place, kRange};
        ask(abi::Opcode::removemapping, file.node, test::bytes_of(abi::RemoveMappingIn{1}) + test::bytes_of(one), 0);
      }
      taken_.resize(window_.size() / kRange);
      taken_[place / kRange] = true;
      ask(abi::Opcode::setupmapping, file.node, test::bytes_of(abi::SetupMappingIn{~0ull, offset, kRange, 2, place}),
          0);
      const std::uint64_t here = std::min(kRange, file.size - offset);
      if (std::memcmp(window_.at(place), expected.data() + offset, here) != 0) fail(file.path + " shows other bytes");
      for (std::uint64_t at = 0; at < here; at += kPage)
        frames += ' ' + std::to_string(frame_of(window_.at(place + at)));
    }
    std::printf("%s %llu%s\n", file.path.c_str(), static_cast<unsigned long long>(file.size), frames.c_str());
  }

  void report() {
    const auto from = reinterpret_cast<std::uintptr_t>(window_.at(0));
    std::printf("mapped %zu %zx %zx\n", window_.mapped().size(), from, from + window_.size());
    std::fflush(stdout);
  }
  int broken_rules() const { return window_.broken_rules; }

 private:
  template <typename T>
  void tell(protocol::Request request, const T& payload, const std::vector<int>& descriptors = {}) {
    if (machine_.tell(request, payload, descriptors) != 0u)
      fail("refused: message " + std::to_string(static_cast<int>(request)));
  }
  template <typename T>
  static T as(const std::string& bytes) {
    T value{};
    std::memcpy(&value, bytes.data(), std::min(sizeof value, bytes.size()));
    return value;
  }
  /// The payload of the answer, which must be no error.
  std::string ask(abi::Opcode opcode, std::uint64_t node, const std::string& arguments, std::uint32_t room) {
    const std::string message = test::make_request(opcode, node, unique_ += 2, arguments);
    message.copy(reinterpret_cast<char*>(ram_.at(in_)), message.size());
    const auto length = static_cast<std::uint32_t>(message.size());
    ring_.set(0, {ram_.guest_address(in_), length, test::GuestRing::kNext, 1});
    ring_.set(1, {ram_.guest_address(out_), static_cast<std::uint32_t>(sizeof(abi::OutHeader)) + room,
                  test::GuestRing::kWrite, 0});
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
    const auto header = as<abi::OutHeader>(answer);
    if (answer.size() < sizeof header || header.error != 0)
      fail("opcode " + std::to_string(static_cast<int>(opcode)) + " of node " + std::to_string(node) + ": error " +
           std::to_string(header.error));
    return answer.substr(sizeof header);
  }
  std::uint64_t frame_of(const std::byte* page) const {
    std::uint64_t entry = 0;
    const auto at = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(page) / kPage * sizeof entry);
    if (::pread(pagemap_.get(), &entry, sizeof entry, at) != sizeof entry) fail("no page map");
    return entry & ((1ull << 55) - 1);
  }

  test::GuestFrontend machine_;
  test::GuestWindow window_;
  test::GuestRam ram_;
  test::GuestRing ring_{ram_, 16};
  const std::size_t in_ = ram_.allocate(8192), out_ = ram_.allocate(128 << 10);
  const UniqueFd kick_{::eventfd(0, EFD_CLOEXEC)}, call_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  const UniqueFd pagemap_{::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)};
  std::uint64_t unique_ = 2, next_ = 0;
  std::vector<bool> taken_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) fail("usage: dax_guest SOCKET TREE WINDOW_MIB");
  Guest guest{argv[1], std::strtoull(argv[3], nullptr, 10) << 20};
  guest.boot();
  std::vector<Guest::File> files;
  guest.walk(1, "", files);
  std::ranges::sort(files, {}, &Guest::File::path);
  for (const Guest::File& file : files) guest.read(file, argv[2]);
  if (guest.broken_rules() != 0) fail("the rules of the window were broken");
  guest.report();
  while (std::getchar() != EOF) {
  }
  return 0;
}
