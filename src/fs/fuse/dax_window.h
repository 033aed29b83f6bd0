#pragma once
#include <cstdint>
#include <functional>

#include "base/result.h"

namespace stellarium::fs::fuse {

/// A part of a guest's addresses into which files of the host can be mapped ("DAX window"): the guest then reads pages
/// of the host's page cache, and asks nobody.
///
/// Places and lengths are whole pages of 4 KiB. Threads: all functions may be called concurrently; `map` and `unmap`
/// wait for the virtual machine monitor.
class DaxWindow {
 public:
  virtual ~DaxWindow() = default;
  virtual std::uint64_t size() const = 0;
  /// Another number since the monitor has dropped everything that was mapped.
  virtual std::uint64_t life() const = 0;
  /// Bytes [offset, offset + length) of a file, to be read, at a place where nothing is mapped. Errors: unavailable
  /// (there is no monitor that maps), io (it refused).
  [[nodiscard]] virtual Result<void> map(std::uint64_t place, int fd, std::uint64_t offset, std::uint64_t length) = 0;
  /// Exactly one earlier mapping; when this returns, the guest cannot see it any more. Errors: as `map`.
  [[nodiscard]] virtual Result<void> unmap(std::uint64_t place, std::uint64_t length) = 0;
  /// Runs it later on a thread that may wait.
  virtual void post(std::function<void()> work) = 0;
};

}  // namespace stellarium::fs::fuse
