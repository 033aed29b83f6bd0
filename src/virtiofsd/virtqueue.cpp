#include "virtiofsd/virtqueue.h"

#include <bit>
#include <cstring>
#include <string>

namespace stellarium::virtiofsd {

struct Virtqueue::Descriptor {
  std::uint64_t address;
  std::uint32_t length;
  std::uint16_t flags, next;
};

namespace {

constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;  // of a descriptor
constexpr std::uint16_t kNoInterrupt = 1;                      // of the available ring
constexpr std::uint32_t kMaxQueueSize = 32'768;
constexpr std::size_t kDescriptorSize = 16, kUsedElementSize = 8, kRingHead = 4;  // flags and index

std::atomic_ref<std::uint16_t> word(std::byte* at) {
  return std::atomic_ref<std::uint16_t>{*reinterpret_cast<std::uint16_t*>(at)};
}

}  // namespace

Result<Virtqueue> Virtqueue::create(const Layout& layout, const GuestMemory& memory) {
  if (layout.size == 0 || layout.size > kMaxQueueSize || !std::has_single_bit(layout.size))
    return fail(Errc::invalid_argument, "a queue of " + std::to_string(layout.size) + " descriptors");
  Virtqueue queue;
  queue.layout_ = layout;
  if (auto placed = queue.place(memory); !placed) return fail(placed.error());
  queue.next_ = layout.base;
  // Continues where the last device stopped: what was taken from the rings was given back as well.
  queue.used_index_ = word(queue.used_ + 2).load(std::memory_order_relaxed);
  queue.called_at_ = queue.used_index_;
  return queue;
}

Result<void> Virtqueue::place(const GuestMemory& memory) {
  // Each ring ends with the event index of the other side.
  const std::uint64_t size = layout_.size;
  const auto ring = [&](std::uint64_t address, std::uint64_t bytes, std::uint64_t alignment) -> std::byte* {
    std::byte* found = memory.find_user(address, bytes);
    return reinterpret_cast<std::uintptr_t>(found) % alignment == 0 ? found : nullptr;
  };
  const std::byte* descriptors = ring(layout_.descriptors, size * kDescriptorSize, 16);
  std::byte* available = ring(layout_.available, kRingHead + size * 2 + 2, 2);
  std::byte* used = ring(layout_.used, kRingHead + size * kUsedElementSize + 2, 4);
  if (descriptors == nullptr || available == nullptr || used == nullptr)
    return fail(Errc::invalid_argument, "a queue whose rings do not lie in the guest's memory");
  descriptors_ = descriptors;
  available_ = available;
  used_ = used;
  return {};
}

Result<void> Virtqueue::move_to(const GuestMemory& memory) {
  return place(memory);
}

std::uint16_t Virtqueue::available_index() const {
  return word(available_ + 2).load(std::memory_order_acquire);
}

Result<std::optional<DescriptorChain>> Virtqueue::pop(const GuestMemory& memory) {
  const auto waiting = static_cast<std::uint16_t>(available_index() - next_);
  if (waiting == 0) return std::nullopt;
  if (waiting > layout_.size)
    return fail(Errc::corrupt,
                "a queue of " + std::to_string(layout_.size) + " with " + std::to_string(waiting) + " requests");
  const std::uint16_t head =
      word(available_ + kRingHead + std::size_t{next_ % layout_.size} * 2).load(std::memory_order_relaxed);
  if (head >= layout_.size)
    return fail(Errc::corrupt, "descriptor " + std::to_string(head) + " of " + std::to_string(layout_.size));
  ++next_;
  return chain_at(memory, head);
}

DescriptorChain Virtqueue::chain_at(const GuestMemory& memory, std::uint16_t head) const {
  DescriptorChain chain;
  chain.head = head;
  take(memory, chain);
  if (chain.fault != nullptr) {
    chain.readable.clear();
    chain.writable.clear();
    chain.readable_bytes = chain.writable_bytes = 0;
  }
  return chain;
}

void Virtqueue::take(const GuestMemory& memory, DescriptorChain& chain) const {
  std::uint32_t index = chain.head;
  for (std::uint32_t taken = 0; chain.fault == nullptr; ++taken) {
    if (taken == layout_.size) {
      chain.fault = "a chain that has no end";
      return;
    }
    Descriptor descriptor;
    std::memcpy(&descriptor, descriptors_ + std::size_t{index} * kDescriptorSize, sizeof descriptor);
    if ((descriptor.flags & kIndirect) != 0) {
      chain.fault = taken != 0 ? "a table within a chain" : take_indirect(memory, descriptor, chain);
      return;
    }
    chain.fault = take_one(memory, descriptor, chain);
    if ((descriptor.flags & kNext) == 0) return;
    index = descriptor.next;
    if (index >= layout_.size) chain.fault = "a descriptor beyond the queue";
  }
}

const char* Virtqueue::take_one(const GuestMemory& memory, const Descriptor& descriptor, DescriptorChain& chain) const {
  const bool writable = (descriptor.flags & kWrite) != 0;
  if (!writable && !chain.writable.empty()) return "a buffer to read behind one to write";
  if (!memory.find(descriptor.address, descriptor.length, writable ? chain.writable : chain.readable))
    return "a buffer outside of the guest's memory";
  (writable ? chain.writable_bytes : chain.readable_bytes) += descriptor.length;
  return nullptr;
}

const char* Virtqueue::take_indirect(const GuestMemory& memory, const Descriptor& descriptor,
                                     DescriptorChain& chain) const {
  if (!layout_.indirect) return "a table that was not agreed on";
  if ((descriptor.flags & (kNext | kWrite)) != 0) return "a table that goes on or is written";
  const std::uint32_t count = descriptor.length / kDescriptorSize;
  if (count == 0 || descriptor.length % kDescriptorSize != 0 || count > layout_.size) return "a table of no such size";
  std::vector<MutableByteSpan> table;
  if (!memory.find(descriptor.address, descriptor.length, table) || table.size() != 1)
    return "a table outside of the guest's memory";
  std::uint32_t index = 0;
  for (std::uint32_t taken = 0; taken < count; ++taken) {
    Descriptor one;
    std::memcpy(&one, table.front().data() + std::size_t{index} * kDescriptorSize, sizeof one);
    if ((one.flags & kIndirect) != 0) return "a table within a table";
    if (const char* fault = take_one(memory, one, chain); fault != nullptr) return fault;
    if ((one.flags & kNext) == 0) return nullptr;
    index = one.next;
    if (index >= count) return "a descriptor beyond its table";
  }
  return "a table that has no end";
}

void Virtqueue::push(std::uint16_t head, std::uint32_t written) {
  struct {
    std::uint32_t id, length;
  } const element{head, written};
  std::memcpy(used_ + kRingHead + std::size_t{used_index_ % layout_.size} * kUsedElementSize, &element, sizeof element);
  ++used_index_;
  word(used_ + 2).store(used_index_, std::memory_order_release);
}

bool Virtqueue::wants_call() {
  const std::uint16_t before = std::exchange(called_at_, used_index_);
  if (before == used_index_) return false;
  // What was pushed must be seen before the driver's wish is read: it writes the wish, then looks for what was pushed.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!layout_.event_idx) return (word(available_).load(std::memory_order_relaxed) & kNoInterrupt) == 0;
  const std::uint16_t wanted =
      word(available_ + kRingHead + std::size_t{layout_.size} * 2).load(std::memory_order_relaxed);
  return static_cast<std::uint16_t>(used_index_ - wanted - 1) < static_cast<std::uint16_t>(used_index_ - before);
}

bool Virtqueue::wait_for_kick() {
  if (layout_.event_idx) {
    word(used_ + kRingHead + std::size_t{layout_.size} * kUsedElementSize).store(next_, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  return available_index() != next_;
}

}  // namespace stellarium::virtiofsd
