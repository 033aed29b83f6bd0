// Writes files that it has in its DAX window: what was mapped, or open, goes on showing the old bytes; who opens the
// file afterwards sees the new ones.
//
//   dax_writer SOCKET WINDOW_MIB
//
// The tree has /large (two ranges and a bit of 'l') and /program (200 bytes of 'p'). Afterwards /large begins with
// "new" and /program is empty; /made is there. Exit code 1 and a line on stderr if anything is not as it should be.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "dax_machine.h"

using namespace stellarium;
namespace abi = fs::fuse::abi;
using abi::Opcode;
using test::bytes_of;
using test::DaxMachine;
using test::give_up;

namespace {

class Writer {
 public:
  Writer(const char* socket, std::size_t window) : machine_{socket, window} { machine_.boot(); }

  abi::EntryOut look_up(const std::string& name) {
    return DaxMachine::as<abi::EntryOut>(
        machine_.ask(Opcode::lookup, abi::kRootNode, test::make_name(name), sizeof(abi::EntryOut)));
  }
  static bool by_window(const abi::Attr& attr) { return (attr.flags & abi::attr_flag::kDax) != 0; }
  void expect(bool right, const std::string& what) {
    if (!right) give_up("not so: " + what);
  }
  void expect_bytes(std::uint64_t place, std::uint64_t size, char byte, const std::string& what) {
    const std::byte* bytes = machine_.window().at(place);
    expect(std::all_of(bytes, bytes + size, [&](std::byte each) { return each == static_cast<std::byte>(byte); }),
           what);
  }
  int open(std::uint64_t node, std::uint32_t flags, std::uint64_t* handle) {
    const auto opened = machine_.try_to(Opcode::open, node, bytes_of(abi::OpenIn{flags, 0}), sizeof(abi::OpenOut));
    if (opened.error == 0) *handle = DaxMachine::as<abi::OpenOut>(opened.payload).fh;
    return opened.error;
  }
  std::string read(std::uint64_t node, std::uint64_t handle, std::uint32_t size) {
    abi::ReadIn in{};
    in.fh = handle;
    in.size = size;
    return machine_.ask(Opcode::read, node, bytes_of(in), size);
  }

  void write_a_file_that_is_mapped() {
    const auto before = look_up("large");
    expect(by_window(before.attr), "a large file is read by way of the window");
    expect(machine_.map(before.nodeid, 0, 0) == 0, "it can be mapped");
    expect_bytes(0, kRange, 'l', "its first range shows its bytes");

    std::uint64_t handle = 0;
    expect(open(before.nodeid, O_RDWR, &handle) == ESTALE, "to be written it is another node");
    const auto after = look_up("large");
    expect(after.nodeid != before.nodeid && after.attr.ino == before.attr.ino, "which is the same inode");
    expect(!by_window(after.attr), "which is not read by way of the window");
    expect(after.attr.size == before.attr.size, "which has the same size");
    expect(open(after.nodeid, O_RDWR, &handle) == 0, "which can be opened to be written");
    abi::WriteIn in{};
    in.fh = handle;
    in.size = 3;
    machine_.ask(Opcode::write, after.nodeid, bytes_of(in) + "new", sizeof(abi::WriteOut));
    expect(read(after.nodeid, handle, 5) == "newll", "the new node shows the new bytes");

    expect_bytes(0, kRange, 'l', "what was mapped shows the old bytes");
    expect(machine_.map(before.nodeid, kRange, kRange) == 0, "more of the old node can be mapped");
    expect_bytes(kRange, kRange, 'l', "and shows the old bytes");
    expect(machine_.unmap(before.nodeid, 0) == 0 && machine_.map(before.nodeid, 0, 0) == 0, "and mapped anew");
    expect_bytes(0, kRange, 'l', "with the old bytes");
    expect(machine_.map(after.nodeid, 0, 2 * kRange) == EINVAL, "the new node cannot be mapped");
    const auto changed = DaxMachine::as<abi::AttrOut>(
        machine_.ask(Opcode::getattr, after.nodeid, bytes_of(abi::GetattrIn{}), sizeof(abi::AttrOut)));
    expect(!by_window(changed.attr), "and stays out of the window");

    machine_.ask(Opcode::release, after.nodeid, bytes_of(abi::ReleaseIn{handle, 0, 0, 0}), 0);
    for (const std::uint64_t place : {std::uint64_t{0}, kRange}) machine_.unmap(before.nodeid, place);
    machine_.try_to(Opcode::forget, before.nodeid, bytes_of(abi::ForgetIn{1}), 0);
    expect(machine_.map(before.nodeid, 0, 0) == EINVAL, "what was forgotten is gone");
  }

  void cut_a_program_that_is_mapped() {
    const auto before = look_up("program");
    expect(by_window(before.attr), "a program is read by way of the window");
    expect(machine_.map(before.nodeid, 0, 0) == 0, "it can be mapped");
    abi::SetattrIn in{};
    in.valid = abi::setattr::kSize;
    expect(machine_.try_to(Opcode::setattr, before.nodeid, bytes_of(in), sizeof(abi::AttrOut)).error == ESTALE,
           "to be cut it is another node");
    const auto after = look_up("program");
    machine_.ask(Opcode::setattr, after.nodeid, bytes_of(in), sizeof(abi::AttrOut));
    expect(look_up("program").attr.size == 0, "which was cut");
    expect_bytes(0, 200, 'p', "and nobody who runs it loses a page");
    expect_bytes(200, 4096 - 200, '\0', "behind its end there are zeros");
    machine_.unmap(before.nodeid, 0);
  }

  /// Of what was told first nothing changes: the guest cannot be told.
  void make_a_program() {
    const auto made = DaxMachine::as<abi::CreateOut>(machine_.ask(
        Opcode::create, abi::kRootNode, bytes_of(abi::CreateIn{O_RDWR | O_CREAT, 0644, 0, 0}) + test::make_name("made"),
        sizeof(abi::CreateOut)));
    abi::WriteIn in{};
    in.fh = made.open.fh;
    in.size = 64 << 10;
    machine_.ask(Opcode::write, made.entry.nodeid, bytes_of(in) + std::string(in.size, 'm'), sizeof(abi::WriteOut));
    machine_.ask(Opcode::release, made.entry.nodeid, bytes_of(abi::ReleaseIn{made.open.fh, 0, 0, 0}), 0);
    abi::SetattrIn run{};
    run.valid = abi::setattr::kMode;
    run.mode = 0755;
    machine_.ask(Opcode::setattr, made.entry.nodeid, bytes_of(run), sizeof(abi::AttrOut));
    const auto now = look_up("made");
    expect(now.nodeid == made.entry.nodeid && !by_window(now.attr), "a file that was made is not in the window");
  }

  void check_rules() { expect(machine_.window().broken_rules == 0, "the rules of the window are kept"); }

 private:
  static constexpr std::uint64_t kRange = DaxMachine::kRange;
  DaxMachine machine_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) give_up("usage: dax_writer SOCKET WINDOW_MIB");
  Writer writer{argv[1], std::strtoull(argv[2], nullptr, 10) << 20};
  writer.write_a_file_that_is_mapped();
  writer.cut_a_program_that_is_mapped();
  writer.make_a_program();
  writer.check_rules();
  std::puts("written");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
