// A guest that goes on while its servers are killed, one after the other.
//
//   surviving_guest SOCKET WINDOW_MIB [PREFIX]      PREFIX: of the names of what it makes
//
// The tree has /large ('l' only). Until its input ends it writes to a file that it has open, makes files, renames and
// removes them, and reads /large by way of its window, at places that it uses again and again. Then it prints
// "survived SERVERS ROUNDS": how often another server went on, and how much was done. The file /log then has 8 bytes
// for each round, its number in decimal digits; of the files only those of every tenth round are left. Exit code 1 and
// a line on stderr if anything is not as it should be.
#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "dax_machine.h"

using namespace stellarium;
namespace abi = fs::fuse::abi;
using abi::Opcode;
using test::bytes_of;
using test::DaxMachine;
using test::give_up;
using test::make_name;

namespace {

class Guest {
 public:
  Guest(const char* socket, std::size_t window, std::string prefix)
      : machine_{socket, window}, places_{window / DaxMachine::kRange}, prefix_{std::move(prefix)} {
    machine_.boot();
    large_ = look_up("large");
    log_ = create(prefix_ + "log");
  }

  void round(int number) {
    std::string text = std::to_string(number);
    text.insert(0, 8 - text.size(), '0');
    abi::WriteIn in{};
    in.fh = log_.open.fh;
    in.offset = static_cast<std::uint64_t>(number) * 8;
    in.size = 8;
    machine_.ask(Opcode::write, log_.entry.nodeid, bytes_of(in) + text, sizeof(abi::WriteOut));

    // Each of these can be done once only: a server that did it a second time would be told so.
    const std::string made = prefix_ + "made" + std::to_string(number);
    const std::string renamed = prefix_ + "kept" + std::to_string(number);
    const auto file = create(made);
    machine_.ask(Opcode::release, file.entry.nodeid, bytes_of(abi::ReleaseIn{file.open.fh, 0, 0, 0}), 0);
    machine_.ask(Opcode::rename, abi::kRootNode,
                 bytes_of(abi::RenameIn{abi::kRootNode}) + make_name(made) + make_name(renamed), 0);
    if (number % 10 != 0) machine_.ask(Opcode::unlink, abi::kRootNode, make_name(renamed), 0);

    read_by_window(number);
  }
  void read_by_window(int number) {
    const std::uint64_t place = static_cast<std::uint64_t>(number) % places_ * DaxMachine::kRange;
    const std::uint64_t offset =
        static_cast<std::uint64_t>(number) % (large_.attr.size / DaxMachine::kRange) * DaxMachine::kRange;
    if (number % 3 == 0 && machine_.unmap(large_.nodeid, place) != 0) give_up("cannot be unmapped");
    if (const int error = machine_.map(large_.nodeid, offset, place); error != 0)
      give_up("cannot be mapped: error " + std::to_string(error));
    const std::byte* bytes = machine_.window().at(place);
    if (!std::all_of(bytes, bytes + DaxMachine::kRange, [](std::byte each) { return each == std::byte{'l'}; }))
      give_up("the window shows other bytes");
  }
  int servers() const { return machine_.reconnected(); }
  /// With what is refused because a server was killed before it had mapped, or after it had unmapped, what it noted.
  int broken_rules() { return machine_.window().broken_rules; }

 private:
  abi::EntryOut look_up(const std::string& name) {
    return DaxMachine::as<abi::EntryOut>(
        machine_.ask(Opcode::lookup, abi::kRootNode, make_name(name), sizeof(abi::EntryOut)));
  }
  abi::CreateOut create(const std::string& name) {
    const abi::CreateIn in{O_RDWR | O_CREAT | O_EXCL, 0644, 0, 0};
    return DaxMachine::as<abi::CreateOut>(
        machine_.ask(Opcode::create, abi::kRootNode, bytes_of(in) + make_name(name), sizeof(abi::CreateOut)));
  }

  DaxMachine machine_;
  const std::uint64_t places_;
  const std::string prefix_;
  abi::EntryOut large_{};
  abi::CreateOut log_{};
};

bool input_ended() {
  pollfd input{0, POLLIN, 0};
  return ::poll(&input, 1, 0) != 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) give_up("usage: surviving_guest SOCKET WINDOW_MIB [PREFIX]");
  Guest guest{argv[1], std::strtoull(argv[2], nullptr, 10) << 20, argc == 4 ? argv[3] : ""};
  std::puts("begun");
  std::fflush(stdout);
  int rounds = 0;
  while (!input_ended()) guest.round(rounds++);
  if (guest.broken_rules() > guest.servers()) give_up("the rules of the window were broken");
  std::printf("survived %d %d\n", guest.servers(), rounds);
  return 0;
}
