#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "virtiofsd/guest_memory.h"

namespace stellarium::virtiofsd {

/// What a driver put into its queue: buffers to read, then buffers to write.
///
/// Borrows guest memory: valid as long as the GuestMemory it was taken with.
struct DescriptorChain {
  std::uint16_t head = 0;
  std::vector<MutableByteSpan> readable, writable;
  std::uint64_t readable_bytes = 0, writable_bytes = 0;
  /// Why it cannot be served; null: it can. It is given back unanswered then.
  const char* fault = nullptr;
};

/// The device's end of one split virtqueue (Virtual I/O Device specification 1.2, section 2.7), with indirect
/// descriptors and event indices.
///
/// Everything in the rings is the guest's and may change at any time: each field is read once, checked, and only then
/// used. A guest that breaks its rings stops its own queue.
/// Threads: not synchronized. Cost: `pop` allocates for the pieces of the chain; nothing waits.
class Virtqueue {
 public:
  struct Layout {
    std::uint32_t size = 0;                                  ///< descriptors: a power of two up to 32,768
    std::uint64_t descriptors = 0, available = 0, used = 0;  ///< addresses of the front-end's process
    std::uint16_t base = 0;                                  ///< of the first chain to take
    bool event_idx = false;
    bool indirect = false;
  };
  /// Errors: invalid_argument (a size or an address that cannot be).
  static Result<Virtqueue> create(const Layout& layout, const GuestMemory& memory);
  /// The same rings in a changed table. Errors: invalid_argument; then it is as it was.
  [[nodiscard]] Result<void> move_to(const GuestMemory& memory);

  /// The next chain, if there is one. Errors: corrupt (an index that cannot be): the queue is to be stopped.
  Result<std::optional<DescriptorChain>> pop(const GuestMemory& memory);
  /// The chain of a head that was taken before, by this device or by one that was killed.
  DescriptorChain chain_at(const GuestMemory& memory, std::uint16_t head) const;
  /// Gives a chain back, of which the first `written` bytes of its writable buffers were filled.
  void push(std::uint16_t head, std::uint32_t written);
  /// Whether the driver wants to be told of what was pushed since the last question.
  bool wants_call();
  /// Asks the driver to tell of the next chain. True: there is one already, so look again.
  bool wait_for_kick();

  std::uint16_t next() const { return next_; }  ///< what a later `base` would be
  void set_next(std::uint16_t next) { next_ = next; }
  std::uint16_t used_index() const { return used_index_; }

 private:
  struct Descriptor;
  Virtqueue() = default;
  Result<void> place(const GuestMemory& memory);
  std::uint16_t available_index() const;
  void take(const GuestMemory& memory, DescriptorChain& chain) const;
  const char* take_one(const GuestMemory& memory, const Descriptor& descriptor, DescriptorChain& chain) const;
  const char* take_indirect(const GuestMemory& memory, const Descriptor& descriptor, DescriptorChain& chain) const;

  Layout layout_;
  const std::byte* descriptors_ = nullptr;
  std::byte* available_ = nullptr;
  std::byte* used_ = nullptr;
  std::uint16_t next_ = 0, used_index_ = 0, called_at_ = 0;
};

}  // namespace stellarium::virtiofsd
