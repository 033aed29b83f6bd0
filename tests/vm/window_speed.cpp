// How long it takes until a range is in a guest's window, and how fast it is read there.
//
//   window_speed SOCKET WINDOW_MIB      the tree has /large, of at least the window's size, whose hot file is there
//
// Prints "mapped MEDIAN P99 unmapped MEDIAN P99" (microseconds, from the request until its answer) and "read WINDOW
// MEMORY" (GB/s: what is mapped, and as much memory of the process's own).
#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <vector>

#include "dax_machine.h"

using namespace stellarium;
namespace abi = fs::fuse::abi;
using test::DaxMachine;
using test::give_up;

namespace {

constexpr int kTries = 2000, kPasses = 20;
using Clock = std::chrono::steady_clock;

double seconds(const std::function<void()>& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::uint64_t sum(const std::byte* bytes, std::size_t size) {
  std::uint64_t total = 0;
  for (std::size_t at = 0; at < size; at += sizeof total) {
    std::uint64_t word;
    std::memcpy(&word, bytes + at, sizeof word);
    total += word;
  }
  return total;
}

/// GB/s of several passes; `expected`: what is there, so that nobody leaves the reading out.
double speed(const std::byte* bytes, std::size_t size, std::uint64_t expected) {
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    std::uint64_t found = 0;
    best = std::max(best, static_cast<double>(size) / 1e9 / seconds([&] { found = sum(bytes, size); }));
    if (found != expected) give_up("the window shows other bytes");
  }
  return best;
}

void print(const char* what, std::vector<double>& times) {
  std::ranges::sort(times);
  std::printf("%s %.1f %.1f ", what, times[times.size() / 2] * 1e6, times[times.size() * 99 / 100] * 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) give_up("usage: window_speed SOCKET WINDOW_MIB");
  const std::size_t size = std::strtoull(argv[2], nullptr, 10) << 20;
  DaxMachine machine{argv[1], size};
  machine.boot();
  const auto large = DaxMachine::as<abi::EntryOut>(
      machine.ask(abi::Opcode::lookup, abi::kRootNode, test::make_name("large"), sizeof(abi::EntryOut)));
  if (large.attr.size < size) give_up("/large is too small");
  const auto map = [&](std::uint64_t at) {
    if (machine.map(large.nodeid, at, at) != 0) give_up("cannot be mapped");
  };
  const auto unmap = [&](std::uint64_t at) {
    if (machine.unmap(large.nodeid, at) != 0) give_up("cannot be unmapped");
  };
  map(0), unmap(0);  // the hot file is there now
  std::vector<double> mapped, unmapped;
  for (int i = 0; i < kTries; ++i) {
    const std::uint64_t at = static_cast<std::uint64_t>(i) % (size / DaxMachine::kRange) * DaxMachine::kRange;
    mapped.push_back(seconds([&] { map(at); }));
    unmapped.push_back(seconds([&] { unmap(at); }));
  }
  print("mapped", mapped);
  print("unmapped", unmapped);
  for (std::uint64_t at = 0; at < size; at += DaxMachine::kRange) map(at);
  const std::vector<std::byte> own{machine.window().at(0), machine.window().at(0) + size};
  const std::uint64_t expected = sum(own.data(), size);
  std::printf("\nread %.2f %.2f\n", speed(machine.window().at(0), size, expected), speed(own.data(), size, expected));
  if (machine.window().broken_rules != 0) give_up("the rules of the window were broken");
  return 0;
}
