#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "virtiofsd/fault_guard.h"
#include "virtiofsd/protocol.h"

namespace stellarium::virtiofsd {

/// One piece of a guest's memory, mapped into this process as long as somebody holds it. Whoever gave it may shorten
/// its file at any time; then it is full of zeros, and nobody's.
class GuestRegion {
 public:
  /// Errors: invalid_argument (a size or an address that cannot be, a file that is no memory or too short), io.
  static Result<std::shared_ptr<const GuestRegion>> map(const protocol::MemoryRegion& wanted, UniqueFd file);
  GuestRegion(const GuestRegion&) = delete;
  GuestRegion& operator=(const GuestRegion&) = delete;
  ~GuestRegion();

  const protocol::MemoryRegion& place() const { return place_; }
  std::byte* bytes() const { return bytes_; }  ///< place().size of them

 private:
  GuestRegion(const protocol::MemoryRegion& place, void* mapping, std::size_t mapped, std::byte* bytes)
      : place_{place}, mapping_{mapping}, mapped_{mapped}, bytes_{bytes}, guard_{std::in_place, mapping, mapped} {}
  protocol::MemoryRegion place_;
  void* mapping_;
  std::size_t mapped_;
  std::byte* bytes_;
  std::optional<FaultGuard> guard_;  // ends before the mapping
};

/// What a guest calls its memory, at one moment: tables are made anew when the front-end changes them, and who still
/// works with an old one keeps its pieces mapped.
///
/// The bytes are the guest's, which may change them at any time: what is checked is copied first.
/// Threads: never changes after it was made.
class GuestMemory {
 public:
  static constexpr std::size_t kMaxRegions = 509;  ///< what Linux' own vhost takes

  /// Errors: invalid_argument (it overlaps another one), out_of_space (more than kMaxRegions).
  Result<GuestMemory> with(std::shared_ptr<const GuestRegion> region) const;
  /// The table without the region that has these addresses and this size. Errors: not_found.
  Result<GuestMemory> without(const protocol::MemoryRegion& region) const;

  /// Adds the bytes [address, address + size) of the guest to `pieces`; more than one piece where they go on in another
  /// region. False, and nothing was added, if the guest has no such memory. Size 0 adds nothing.
  [[nodiscard]] bool find(std::uint64_t address, std::uint64_t size, std::vector<MutableByteSpan>& pieces) const;
  /// The same by the addresses of the front-end's process, in one piece. Null if there is none.
  std::byte* find_user(std::uint64_t address, std::uint64_t size) const;

  std::size_t regions() const { return regions_.size(); }

 private:
  std::vector<std::shared_ptr<const GuestRegion>> regions_;  // by guest address
};

}  // namespace stellarium::virtiofsd
