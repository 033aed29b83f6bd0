#pragma once
#include <array>
#include <atomic>
#include <cstdint>

#include "base/bytes.h"
#include "cas/hash.h"

namespace stellarium::tier {

/// Which contents were begun to be read before, lately: a second reader, whose kernel shares no pages with the first
/// one's, will not be the last. (What is read once must not push out what is read often: the doorkeeper of TinyLFU
/// [Einziger, Friedman, Manes, 2017], here by digest, since that is random already.)
///
/// Threads: may be called concurrently. Cost: one atomic exchange; 64 KiB. A content is forgotten when another one of
/// the same slot comes, so it may seem new; never the reverse, but for two that share 64 bits.
class RepeatedContents {
 public:
  /// Notes that it is read from its start; true every second time.
  bool again(const cas::ContentId& content) {
    const auto tag = load_le<std::uint64_t>(content.bytes.data());
    std::atomic<std::uint64_t>& slot = slots_[tag % slots_.size()];
    if (slot.exchange(tag, std::memory_order_relaxed) != tag) return false;
    slot.store(0, std::memory_order_relaxed);
    return true;
  }

 private:
  std::array<std::atomic<std::uint64_t>, 8192> slots_{};
};

}  // namespace stellarium::tier
