#include "virtiofsd/fault_guard.h"

#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <mutex>

namespace stellarium::virtiofsd {
namespace {

struct Guarded {
  std::atomic<std::byte*> start = nullptr;
  std::atomic<std::size_t> length = 0;  // 0: free, or not yet complete
  std::atomic<bool> taken = false;
};

// A signal belongs to the process, and its handler may take no lock: the one thing here that is not an object's.
std::array<Guarded, 8192> guarded;
std::once_flag installed;

void on_bus_error(int signal, siginfo_t* info, void*) {
  const int interrupted = errno;
  const auto* const address = static_cast<const std::byte*>(info->si_addr);
  for (const Guarded& each : guarded) {
    const std::size_t length = each.length.load(std::memory_order_acquire);
    std::byte* const start = each.start.load(std::memory_order_relaxed);
    if (length == 0 || std::less<>{}(address, start) || !std::less<>{}(address, start + length)) continue;
    // Huge pages cannot be replaced one by one.
    if (::mmap(start, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) !=
        MAP_FAILED) {
      errno = interrupted;
      return;
    }
  }
  ::signal(signal, SIG_DFL);  // comes again at once, and ends the process
}

void install() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace

FaultGuard::FaultGuard(void* start, std::size_t length) {
  std::call_once(installed, install);
  for (std::size_t slot = 0; slot < guarded.size(); ++slot) {
    Guarded& each = guarded[slot];
    if (each.taken.exchange(true, std::memory_order_acq_rel)) continue;
    each.start.store(static_cast<std::byte*>(start), std::memory_order_relaxed);
    each.length.store(length, std::memory_order_release);
    slot_ = slot;
    return;
  }
}

FaultGuard::~FaultGuard() {
  if (slot_ == kNone) return;
  guarded[slot_].length.store(0, std::memory_order_release);
  guarded[slot_].taken.store(false, std::memory_order_release);
}

}  // namespace stellarium::virtiofsd
