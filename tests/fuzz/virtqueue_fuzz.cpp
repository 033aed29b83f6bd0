// A guest's memory with a queue in it, all of it the guest's: every chain is taken, read, written and given back.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "virtiofsd/virtqueue.h"

using namespace stellarium;
using namespace stellarium::virtiofsd;

namespace {

constexpr std::size_t kMemory = 64 << 10, kSecond = 16 << 10;  // where the second piece begins, which touches the first
constexpr std::uint64_t kGuest = 0x1000;                       // an address that short inputs can reach

/// Two pieces of one file, made once.
struct Guest {
  UniqueFd file{::memfd_create("guest", MFD_CLOEXEC)};
  std::byte* bytes = nullptr;
  GuestMemory memory;

  Guest() {
    if (::ftruncate(file.get(), kMemory) != 0) std::abort();
    bytes = static_cast<std::byte*>(::mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
    for (const auto& [from, to] : {std::pair{std::size_t{0}, kSecond}, {kSecond, kMemory}})
      memory = *memory.with(*GuestRegion::map({kGuest + from, to - from, from, from}, UniqueFd{::dup(file.get())}));
  }
};

}  // namespace

/// The first byte says the queue's size and what was agreed on, the rest is the memory from its start: descriptors,
/// then the available ring, then the used one, then what the guest likes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Guest guest;
  if (size < 1) return 0;
  const std::uint32_t descriptors = 1u << (data[0] & 7);
  std::memset(guest.bytes, 0, kMemory);
  std::memcpy(guest.bytes, data + 1, std::min(size - 1, kMemory));
  const std::uint64_t available = std::uint64_t{descriptors} * 16, used = (available + descriptors * 2 + 6 + 3) / 4 * 4;
  auto queue = Virtqueue::create({.size = descriptors,
                                  .descriptors = 0,
                                  .available = available,
                                  .used = used,
                                  .base = 0,
                                  .event_idx = (data[0] & 8) != 0,
                                  .indirect = (data[0] & 16) != 0},
                                 guest.memory);
  if (!queue) std::abort();  // it lies in the memory
  std::uint64_t sum = 0;
  for (int taken = 0; taken < 300; ++taken) {
    const auto chain = queue->pop(guest.memory);
    if (!chain || !*chain) break;
    if ((*chain)->head >= descriptors) std::abort();
    std::uint64_t readable = 0, writable = 0;
    for (const MutableByteSpan piece : (*chain)->readable) {
      readable += piece.size();
      for (const std::byte byte : piece) sum += static_cast<std::uint8_t>(byte);
    }
    for (const MutableByteSpan piece : (*chain)->writable) {
      writable += piece.size();
      std::ranges::fill(piece, static_cast<std::byte>(sum));  // rings included, where the guest says so
    }
    if (readable != (*chain)->readable_bytes || writable != (*chain)->writable_bytes) std::abort();
    queue->push((*chain)->head, static_cast<std::uint32_t>(writable));
    (void)queue->wants_call();
    (void)queue->wait_for_kick();
  }
  return 0;
}
