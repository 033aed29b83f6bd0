#pragma once
#include <cstddef>

namespace stellarium::virtiofsd {

/// Keeps this process alive when a file that it has mapped becomes shorter: reading or writing what is gone raises
/// SIGBUS, and whoever gave the file decides when.
///
/// While it lives, a mapping that fails so becomes private memory full of zeros, all of it. Elsewhere SIGBUS ends the
/// process, as it would without.
/// Threads: may be made and ended concurrently. Errors: `holds()` is false if there are too many (8,192).
class FaultGuard {
 public:
  FaultGuard(void* start, std::size_t length);
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;
  ~FaultGuard();
  bool holds() const { return slot_ != kNone; }

 private:
  static constexpr std::size_t kNone = ~std::size_t{0};
  std::size_t slot_ = kNone;
};

}  // namespace stellarium::virtiofsd
