// Many virtual machines at once, without machines: each connects to a device of its own, mounts, and makes a file.
//
//   many_guests SOCKET_PREFIX COUNT       the sockets are SOCKET_PREFIX0, SOCKET_PREFIX1, …
//
// Prints "connected SECONDS" when all have mounted, and "answered MEDIAN P99" (microseconds) after each has asked once
// more; then waits for the end of its input. Exit code 1 and a line on stderr if anything is not as it should be.
#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "dax_machine.h"

using namespace stellarium;
namespace abi = fs::fuse::abi;
using test::bytes_of;
using test::DaxMachine;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Returns the node of a file that it made and wrote.
std::uint64_t use(DaxMachine& machine) {
  machine.ask(abi::Opcode::lookup, abi::kRootNode, test::make_name("usr"), sizeof(abi::EntryOut));
  const auto made = DaxMachine::as<abi::CreateOut>(machine.ask(
      abi::Opcode::create, abi::kRootNode,
      bytes_of(abi::CreateIn{O_RDWR | O_CREAT, 0644, 0, 0}) + test::make_name("made"), sizeof(abi::CreateOut)));
  abi::WriteIn in{};
  in.fh = made.open.fh;
  in.size = 5;
  machine.ask(abi::Opcode::write, made.entry.nodeid, bytes_of(in) + "bytes", sizeof(abi::WriteOut));
  return made.entry.nodeid;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) test::give_up("usage: many_guests SOCKET_PREFIX COUNT");
  const int count = std::atoi(argv[2]);
  std::vector<std::unique_ptr<DaxMachine>> machines;
  const auto begin = Clock::now();
  for (int i = 0; i < count; ++i) {
    machines.push_back(std::make_unique<DaxMachine>((argv[1] + std::to_string(i)).c_str(), 0));
    machines.back()->boot();
  }
  std::printf("connected %.3f\n", seconds_since(begin));
  std::vector<std::uint64_t> nodes;
  for (const auto& machine : machines) nodes.push_back(use(*machine));
  std::vector<double> times;
  for (std::size_t i = 0; i < machines.size(); ++i) {
    const auto asked = Clock::now();
    const auto said = DaxMachine::as<abi::AttrOut>(
        machines[i]->ask(abi::Opcode::getattr, nodes[i], bytes_of(abi::GetattrIn{}), sizeof(abi::AttrOut)));
    times.push_back(seconds_since(asked) * 1e6);
    if (said.attr.size != 5) test::give_up("a file has another size");
  }
  std::ranges::sort(times);
  std::printf("answered %.1f %.1f\n", times[times.size() / 2], times[times.size() * 99 / 100]);
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
